//! Between a connection and hyper: what comes in is examined, and nobody may take for ever.
//!
//! A [`Wire`] hands on one message at a time. Each head is examined whole before hyper sees a byte of it (`head`), and
//! each body followed to its end (`framing`), so that it is known where the next head begins. A head that is not taken
//! is replaced by one that stands for it; the service is told its fault, refuses it like anything else, and the
//! connection ends with the answer.
//!
//! A raw `"` in a target is no URI by RFC 3986, and hyper would refuse it. Zoho's Calendar pages show it, so it is handed
//! on as `%22`: the one place where a byte of a call is changed.

mod conversation;
mod framing;
mod head;
mod pause;
mod timer;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use self::{
    framing::{Framing, NotChunked},
    head::{Examiner, Head},
    pause::Pause,
};
use super::idle::{IDLE_AFTER, IdleConnections, Idler};
use crate::{clock, protocol::ProtocolFault};

use conversation::Busy;
pub(super) use conversation::{Answering, Conversation};
pub use head::HeadLimits;

/// How patient the gateway is with those who call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How large a head may be.
    pub head: HeadLimits,
    /// How long a head may take, from its first byte on.
    pub header_timeout: Duration,
    /// How long the gateway waits for the bytes of one body, all pauses together.
    pub body_timeout: Duration,
    /// How long the gateway waits for a caller to take a piece of an answer, all pauses together.
    pub send_timeout: Duration,
    /// How long a connection may stand without a request.
    pub idle_timeout: Duration,
}

/// What hyper is given for a head that is not taken. Its method is none, as an access log writes it.
const STANDS_FOR_A_FAULT: &[u8] = b"- / HTTP/1.1\r\nHost: -\r\nConnection: close\r\n\r\n";

/// How much is read at a time where hyper's own buffer cannot be read into.
const PIECE: usize = 4096;

/// Of an answer, so much has to be taken within `send_timeout`: 2 KiB a second by default, and far less than sockets hold.
const PIECE_OF_AN_ANSWER: usize = 64 * 1024;

/// Closing a connection with bytes unread would take the answer away that is on its way (RFC 9112 section 9.6), so that
/// much is still taken, for that long.
const LINGER_BYTES: usize = 1024 * 1024;
const LINGER: Duration = Duration::from_millis(500);

/// A connection, one message at a time.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    patience: Patience,
    /// Where it says that it is idle, and while it is.
    idle: IdleConnections,
    idler: Option<Idler>,
    conversation: Arc<Conversation>,
    at: At,
    /// What was read and not yet handed on.
    ahead: Vec<u8>,
    /// How many bytes of it may be handed on.
    examined: usize,
    /// Waiting for the other side to send, and to take.
    read_pause: Pause,
    write_pause: Pause,
    /// What was taken of the piece of an answer that is going out.
    taken: usize,
    lingering: Option<Linger>,
}

#[derive(Debug)]
enum At {
    Head(Examiner),
    Body(Framing),
    /// After a head that was not taken: nothing more is read.
    End,
    /// After a body that broke off: hyper is told that it ended, and the service why.
    Cut,
}

#[derive(Debug)]
struct Linger {
    left: usize,
    until: Instant,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, patience: Patience, idle: IdleConnections, conversation: Arc<Conversation>) -> Self {
        Self {
            stream,
            patience,
            idle,
            idler: None,
            conversation,
            at: At::Head(Examiner::default()),
            ahead: Vec::new(),
            examined: 0,
            read_pause: Pause::default(),
            write_pause: Pause::default(),
            taken: 0,
            lingering: None,
        }
    }

    /// Takes from `ahead` what can be handed on. Nothing can, while a head is incomplete.
    fn examine_ahead(&mut self) {
        let Self { at, ahead, .. } = self;
        match at {
            At::End | At::Cut => {}
            At::Body(framing) => match framing.follow(ahead, self.patience.head) {
                Ok(length) => self.examined = length,
                Err(NotChunked) => self.cut(NOT_CHUNKED),
            },
            At::Head(examiner) => match examiner.examine(ahead, self.patience.head) {
                Ok(None) => return,
                Ok(Some(head)) => self.examined = self.accept(head),
                Err(fault) => self.refuse(fault),
            },
        }
        self.turn();
    }

    /// A head at the front of `ahead`; how long it is as it is handed on.
    fn accept(&mut self, Head { length, framing, quoted }: Head) -> usize {
        self.asked(framing);
        let Some(end) = quoted else { return length };
        let line: Vec<u8> = self.ahead[..end].iter().flat_map(head::encoded).copied().collect();
        let length = length - end + line.len();
        self.ahead.splice(..end, line);
        length
    }

    /// A head is handed on, and this is the body that comes behind it.
    fn asked(&mut self, body: Framing) {
        self.conversation.asked();
        self.at = At::Body(body);
        self.read_pause.since = None;
        self.read_pause.before = Duration::ZERO;
    }

    fn refuse(&mut self, fault: ProtocolFault) {
        self.conversation.asked_wrongly(fault);
        self.at = At::End;
        self.ahead.clear();
        self.ahead.extend_from_slice(STANDS_FOR_A_FAULT);
        self.examined = self.ahead.len();
    }

    /// What follows a body with a fault is anybody's guess.
    fn cut(&mut self, fault: ProtocolFault) {
        self.conversation.broke_off(fault);
        self.at = At::Cut;
    }

    /// Behind a body comes a head.
    fn turn(&mut self) {
        if matches!(&self.at, At::Body(framing) if framing.is_done()) {
            self.at = At::Head(Examiner::default());
        }
    }

    /// What was just read into hyper's buffer, from `before` on: what may be handed on stays, the rest goes ahead.
    fn sort(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let read = &buffer.filled()[before..];
        let keep = match &mut self.at {
            At::Head(examiner) => match examiner.examine(read, self.patience.head) {
                // Nearly every request comes here: whole, at once and with nothing to be copied.
                Ok(Some(Head { length, mut framing, quoted: None })) => {
                    match framing.follow(&read[length..], self.patience.head) {
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
            At::Body(framing) => framing.follow(read, self.patience.head).unwrap_or_else(|NotChunked| {
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
        let Patience { header_timeout, body_timeout, idle_timeout, .. } = self.patience;
        let span = match &self.at {
            At::Head(_) if self.ahead.is_empty() => idle_timeout,
            At::Head(_) => header_timeout,
            At::Body(_) => return self.read_pause.exceeds(body_timeout, context),
            At::End | At::Cut => return Poll::Pending,
        };
        let Pause { since, timer, .. } = &mut self.read_pause;
        let since = *since.get_or_insert_with(clock::now);
        loop {
            match self.conversation.quiet() {
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
                Err(Busy) => ready!(timer.poll(clock::now() + span.min(IDLE_AFTER), context)),
            }
        }
    }
}

const NOT_CHUNKED: ProtocolFault = ProtocolFault::Malformed("the chunked body is malformed");

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
                let fits = wire.examined.min(buffer.remaining());
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
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() == before {
            return Poll::Ready(Ok(Read::Through));
        }
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

    /// Takes what still comes, until the other side has heard the end, or for a while.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let linger = self.lingering.get_or_insert_with(|| Linger { left: LINGER_BYTES, until: clock::now() + LINGER });
        loop {
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece);
            match Pin::new(&mut self.stream).poll_read(context, &mut piece) {
                Poll::Pending => return self.read_pause.timer.poll(linger.until, context),
                Poll::Ready(Ok(())) if !piece.filled().is_empty() && linger.left > piece.filled().len() => {
                    linger.left -= piece.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(written, |bytes| *bytes, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.sent(written, |bytes| *bytes, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.sent(flushed, |()| 0, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        if wire.lingering.is_none() {
            let shut = Pin::new(&mut wire.stream).poll_shutdown(context);
            ready!(wire.sent(shut, |()| 0, context))?;
        }
        if matches!(&wire.at, At::Head(_)) && wire.ahead.is_empty() {
            return Poll::Ready(Ok(()));
        }
        wire.linger(context).map(Ok)
    }
}

impl<S> Wire<S> {
    /// Passes on how a write went; one that waits for its caller for too long fails.
    fn sent<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let Poll::Ready(outcome) = outcome else {
            let overdue = self.write_pause.exceeds(self.patience.send_timeout, context);
            return overdue.map(|()| Err(io::ErrorKind::TimedOut.into()));
        };
        self.write_pause.ends();
        self.taken += outcome.as_ref().map_or(0, bytes);
        if self.taken >= PIECE_OF_AN_ANSWER {
            self.taken = 0;
            self.write_pause.before = Duration::ZERO;
        }
        Poll::Ready(outcome)
    }
}

#[cfg(test)]
pub(super) mod tests;
