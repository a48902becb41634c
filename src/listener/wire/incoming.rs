//! What a caller sends: read, checked, and handed to hyper one message at a time.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, ReadBuf};

use super::{
    HYPER_BUFFER, Reading, StrictHttp1,
    connection_state::Busy,
    framing::NotChunked,
    head::{Head, HeadParser, Rewrite},
};
use crate::{listener::idle::IDLE_AFTER, message::protocol::ProtocolFault, os::clock};

/// What hyper gets in place of a rejected head. An access log writes a missing method as `-`.
pub(super) const PLACEHOLDER_HEAD: &[u8] = b"- / HTTP/1.1\r\nHost: -\r\nConnection: close\r\n\r\n";

/// How often to check whether an answer has been sent.
const BUSY_CHECK: Duration = Duration::from_secs(1);

pub(super) const NOT_CHUNKED: ProtocolFault = ProtocolFault::Malformed("the chunked body is malformed");

impl<S> StrictHttp1<S> {
    /// Takes bytes from the stream.
    fn buffer(&mut self, bytes: &[u8]) {
        if self.buffered.is_empty() {
            // The pause of a head begins with its first byte.
            self.read_pause.ends();
            self.idle_guard = None;
        }
        self.buffered.extend_from_slice(bytes);
    }

    /// Checks the buffered bytes up to the end of the current message. An incomplete head stays unchecked.
    fn check(&mut self) {
        let limits = self.timeouts.head;
        if let Reading::Head(parser) = &mut self.reading {
            match parser.parse(&self.buffered, limits) {
                Ok(None) => return,
                Ok(Some(head)) => self.accept(head),
                Err(fault) => return self.reject(fault),
            }
        }
        if let Reading::Body(framing) = &mut self.reading {
            match framing.follow(&self.buffered[self.checked..], limits) {
                Ok(length) => self.checked += length,
                Err(NotChunked) => return self.cut(NOT_CHUNKED),
            }
            if framing.is_done() {
                self.connection_state.request_complete();
                self.reading = Reading::Head(HeadParser::default());
            }
        }
    }

    /// Accepts the head at the front of the buffered bytes, and rewrites it where that is necessary.
    fn accept(&mut self, Head { length, framing, rewrite }: Head) {
        self.connection_state.head_forwarded();
        self.reading = Reading::Body(framing);
        self.read_pause.restart();
        self.checked = length;
        if rewrite != Rewrite::default() {
            let head = rewrite.apply(&self.buffered[..length]);
            self.checked = head.len();
            self.buffered.splice(..length, head);
        }
    }

    /// Replaces a rejected head by the placeholder.
    fn reject(&mut self, fault: ProtocolFault) {
        self.connection_state.placeholder_forwarded(fault);
        self.reading = Reading::Stopped;
        self.buffered = PLACEHOLDER_HEAD.to_vec();
        self.checked = self.buffered.len();
    }

    /// Ends a body that has a fault. The bytes after it cannot be assigned to any message.
    fn cut(&mut self, fault: ProtocolFault) {
        self.connection_state.body_failed(fault);
        self.reading = Reading::Cut;
    }

    /// Hands checked bytes to hyper.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.checked.min(buffer.remaining()).min(HYPER_BUFFER);
        buffer.put_slice(&self.buffered[..length]);
        self.buffered.drain(..length);
        self.checked -= length;
        if self.buffered.is_empty() {
            // An idle connection keeps no memory.
            self.buffered = Vec::new();
        }
    }

    /// Ready when the caller has sent nothing for too long.
    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &self.reading {
            Reading::Body(_) => self.read_pause.exceeds(self.timeouts.body_timeout, context),
            Reading::Head(_) if self.buffered.is_empty() => self.poll_idle(context),
            Reading::Head(_) => self.poll_silence(self.timeouts.header_timeout, context),
            Reading::Stopped | Reading::Cut => Poll::Pending,
        }
    }

    /// Ready when the connection has been idle for too long, or has to close for another one.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let idle_timeout = self.timeouts.idle_timeout;
        if self.idle_guard.is_none() {
            ready!(self.poll_silence(idle_timeout.min(IDLE_AFTER), context));
            self.idle_guard = Some(self.idle.enter());
        }
        if self.idle_guard.as_ref().is_some_and(|guard| guard.must_close(context)) {
            return Poll::Ready(());
        }
        self.poll_silence(idle_timeout, context)
    }

    /// Ready when the caller has been silent for `timeout` while no answer was outstanding.
    fn poll_silence(&mut self, timeout: Duration, context: &mut Context<'_>) -> Poll<()> {
        let since = *self.read_pause.since.get_or_insert_with(clock::now);
        let (timer, idle_timeout) = (&mut self.read_pause.timer, self.timeouts.idle_timeout);
        loop {
            match self.connection_state.last_answered() {
                Ok(answered) => return timer.poll(answered.map_or(since, |at| at.max(since)) + timeout, context),
                // A caller that waits for an answer has no reason to send. Nothing reports the end of an answer, so
                // this checks again.
                Err(Busy) => ready!(timer.poll(clock::now() + idle_timeout.min(BUSY_CHECK), context)),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StrictHttp1<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.checked == 0 {
                this.check();
            }
            if this.checked > 0 {
                this.hand_on(buffer);
                return Poll::Ready(Ok(()));
            }
            match &this.reading {
                // hyper would take an end for the caller's, and the answer has not been sent yet.
                Reading::Stopped => return Poll::Pending,
                Reading::Cut => return Poll::Ready(Ok(())),
                Reading::Head(_) | Reading::Body(_) => {}
            }
            let mut piece = [MaybeUninit::uninit(); HYPER_BUFFER];
            let mut piece = ReadBuf::uninit(&mut piece);
            if Pin::new(&mut this.stream).poll_read(context, &mut piece)?.is_ready() {
                if piece.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
                this.buffer(piece.filled());
                continue;
            }
            ready!(this.poll_timeout(context));
            match &this.reading {
                Reading::Head(_) if !this.buffered.is_empty() => this.reject(ProtocolFault::HeadTimeout),
                Reading::Body(_) => this.cut(ProtocolFault::BodyTimeout),
                // An idle connection is closed without an answer (RFC 9112 section 9.5).
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}
