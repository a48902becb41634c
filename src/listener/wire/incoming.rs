//! What a caller sends: read, examined, and handed on to hyper one message at a time.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, ReadBuf};

use super::{
    At, HYPERS_BUFFER, PIECE, Timeouts, Wire,
    connection_state::Busy,
    framing::{Framing, NotChunked},
    head::{Examiner, Head, Rewrite},
    pause::Pause,
};
use crate::{listener::idle::IDLE_AFTER, message::protocol::ProtocolFault, os::clock};

/// What hyper is given for a head that is not taken. Its method is none, as an access log writes it.
pub(super) const STANDS_FOR_A_FAULT: &[u8] = b"- / HTTP/1.1\r\nHost: -\r\nConnection: close\r\n\r\n";

/// How often it is looked whether an answer is out.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) const NOT_CHUNKED: ProtocolFault = ProtocolFault::Malformed("the chunked body is malformed");

impl<S> Wire<S> {
    /// Takes from `ahead` what can be handed on. Nothing can, while a head is incomplete.
    fn examine_ahead(&mut self) {
        let Self { at, ahead, .. } = self;
        match at {
            At::End | At::Cut => {}
            At::Body(framing) => match framing.follow(ahead, self.timeouts.head) {
                Ok(length) => self.examined = length,
                Err(NotChunked) => self.cut(NOT_CHUNKED),
            },
            At::Head(examiner) => match examiner.examine(ahead, self.timeouts.head) {
                Ok(None) => return,
                Ok(Some(head)) => self.examined = self.accept(head),
                Err(fault) => self.refuse(fault),
            },
        }
        self.turn();
    }

    /// A head at the front of `ahead`; how long it is as it is handed on.
    fn accept(&mut self, Head { length, framing, rewrite }: Head) -> usize {
        self.asked(framing);
        if rewrite == Rewrite::default() {
            return length;
        }
        let head = rewrite.of(&self.ahead[..length]);
        let rewritten = head.len();
        self.ahead.splice(..length, head);
        rewritten
    }

    /// A head is handed on, and this is the body that comes behind it.
    fn asked(&mut self, body: Framing) {
        self.connection_state.asked();
        self.at = At::Body(body);
        self.read_pause.since = None;
        self.read_pause.before = Duration::ZERO;
    }

    fn refuse(&mut self, fault: ProtocolFault) {
        self.connection_state.asked_wrongly(fault);
        self.at = At::End;
        self.ahead.clear();
        self.ahead.extend_from_slice(STANDS_FOR_A_FAULT);
        self.examined = self.ahead.len();
    }

    /// What follows a body with a fault is anybody's guess.
    fn cut(&mut self, fault: ProtocolFault) {
        self.connection_state.broke_off(fault);
        self.at = At::Cut;
    }

    /// Behind a body comes a head.
    fn turn(&mut self) {
        if matches!(&self.at, At::Body(framing) if framing.is_done()) {
            self.connection_state.came_whole();
            self.at = At::Head(Examiner::default());
        }
    }

    /// What was just read into hyper's buffer, from `before` on: what may be handed on stays, the rest goes ahead.
    fn sort(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let read = &buffer.filled()[before..];
        let keep = match &mut self.at {
            At::Head(examiner) => match examiner.examine(read, self.timeouts.head) {
                // Nearly every request comes here: whole, at once and with nothing to be copied.
                Ok(Some(Head { length, mut framing, rewrite: Rewrite { quoted: None, expects: None } })) => {
                    match framing.follow(&read[length..], self.timeouts.head) {
                        Ok(body) => {
                            self.asked(framing);
                            length + body
                        }
                        Err(NotChunked) => {
                            self.asked(framing);
                            self.cut(NOT_CHUNKED);
                            length
                        }
                    }
                }
                _ => {
                    // Seldom: it is looked at once more where it can be completed.
                    self.at = At::Head(Examiner::default());
                    0
                }
            },
            At::Body(framing) => framing.follow(read, self.timeouts.head).unwrap_or_else(|NotChunked| {
                self.cut(NOT_CHUNKED);
                0
            }),
            At::End | At::Cut => 0,
        };
        self.ahead.extend_from_slice(&read[keep..]);
        buffer.set_filled(before + keep);
        self.turn();
    }

    /// Ready once what is being waited for was waited for long enough.
    fn overdue(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Timeouts { header_timeout, body_timeout, idle_timeout, .. } = self.timeouts;
        let span = match &self.at {
            At::Head(_) if self.ahead.is_empty() => idle_timeout,
            At::Head(_) => header_timeout,
            At::Body(_) => return self.read_pause.exceeds(body_timeout, context),
            At::End | At::Cut => return Poll::Pending,
        };
        let Pause { since, timer, .. } = &mut self.read_pause;
        let since = *since.get_or_insert_with(clock::now);
        loop {
            match self.connection_state.quiet() {
                Ok(quiet) => {
                    let since = quiet.map_or(since, |quiet| since.max(quiet));
                    if self.ahead.is_empty() && self.idler.is_none() {
                        ready!(timer.poll(since + span.min(IDLE_AFTER), context));
                        self.idler = Some(self.idle.enter());
                    }
                    if self.idler.as_ref().is_some_and(|idler| idler.is_to_leave(context)) {
                        return Poll::Ready(());
                    }
                    return timer.poll(since + span, context);
                }
                // Who waits for an answer has nothing to say, and nobody is told when it is out: it is looked at again.
                Err(Busy) => ready!(timer.poll(clock::now() + span.min(LOOK_AGAIN), context)),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        loop {
            if wire.examined == 0 && !wire.ahead.is_empty() {
                wire.examine_ahead();
            }
            if wire.examined > 0 {
                let fits = wire.examined.min(buffer.remaining()).min(HYPERS_BUFFER);
                buffer.put_slice(&wire.ahead[..fits]);
                wire.ahead.drain(..fits);
                wire.examined -= fits;
                if wire.ahead.is_empty() && wire.ahead.capacity() > PIECE {
                    // A large head is rare, and an idle connection should not keep its room.
                    wire.ahead = Vec::new();
                }
                return Poll::Ready(Ok(()));
            }
            let in_a_head = !wire.ahead.is_empty();
            let outcome = match &wire.at {
                // No end is reported: hyper would take it for the caller's, and the answer is not out yet.
                At::End => return Poll::Pending,
                At::Cut => return Poll::Ready(Ok(())),
                _ if in_a_head => wire.read_ahead(context),
                _ => wire.read_through(context, buffer),
            };
            match outcome {
                Poll::Ready(read) => match read? {
                    Read::Through => return Poll::Ready(Ok(())),
                    Read::Ahead => {}
                },
                Poll::Pending => {
                    ready!(wire.overdue(context));
                    match &wire.at {
                        At::Head(_) if in_a_head => wire.refuse(ProtocolFault::HeadTimeout),
                        At::Body(_) => wire.cut(ProtocolFault::BodyTimeout),
                        // An idle connection ends without a word (RFC 9112 section 9.5).
                        At::Head(_) | At::End | At::Cut => return Poll::Ready(Ok(())),
                    }
                }
            }
        }
    }
}

/// What reading led to.
enum Read {
    /// Something for hyper, the other side's end included.
    Through,
    /// Something to be examined first.
    Ahead,
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Reads into hyper's buffer, as nearly always nothing has to be held back.
    fn read_through(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<Read>> {
        let before = buffer.filled().len();
        // A buffer that nothing is written to takes no memory yet, so what comes is read beside it.
        let mut piece = [0; HYPERS_BUFFER];
        let room = buffer.remaining().min(HYPERS_BUFFER);
        let mut piece = ReadBuf::new(&mut piece[..room]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
        if piece.filled().is_empty() {
            return Poll::Ready(Ok(Read::Through));
        }
        buffer.put_slice(piece.filled());
        // The pause of a head begins with its first byte.
        self.read_pause.ends();
        self.idler = None;
        self.sort(buffer, before);
        Poll::Ready(Ok(if buffer.filled().len() == before { Read::Ahead } else { Read::Through }))
    }

    /// Reads on in a head that is not complete.
    fn read_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Read>> {
        let mut piece = [0; PIECE];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
        if piece.filled().is_empty() {
            return Poll::Ready(Ok(Read::Through));
        }
        self.ahead.extend_from_slice(piece.filled());
        Poll::Ready(Ok(Read::Ahead))
    }
}
