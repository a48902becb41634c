//! What a caller receives: written with a limit on how slowly the caller takes it.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Reading, StrictHttp1, linger::Linger};

/// How many bytes of an answer the caller must take within `send_timeout`. The system reports them in large steps, so a
/// write may take twice as long.
const ANSWER_PIECE: usize = 64 * 1024;

/// How many bytes are read at a time to be dropped.
const DROPPED_PIECE: usize = 16 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StrictHttp1<S> {
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
        let this = &mut *self;
        if this.lingering.is_none() {
            let shut = Pin::new(&mut this.stream).poll_shutdown(context);
            ready!(this.sent(shut, |()| 0, context))?;
        }
        if matches!(&this.reading, Reading::Head(_)) && this.buffered.is_empty() {
            return Poll::Ready(Ok(()));
        }
        this.linger(context).map(Ok)
    }
}

impl<S> StrictHttp1<S> {
    /// Passes on the outcome of a write. A write fails when its caller takes nothing for too long.
    fn sent<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let Poll::Ready(outcome) = outcome else {
            let overdue = self.write_pause.exceeds(self.timeouts.send_timeout, context);
            return overdue.map(|()| Err(io::ErrorKind::TimedOut.into()));
        };
        self.write_pause.ends();
        self.taken += outcome.as_ref().map_or(0, bytes);
        if self.taken >= ANSWER_PIECE {
            self.taken = 0;
            self.write_pause.restart();
        }
        Poll::Ready(outcome)
    }
}

impl<S: AsyncRead + Unpin> StrictHttp1<S> {
    /// Reads and drops what still arrives, until [`Linger`] ends it.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Self { reading, buffered, checked, timeouts, lingering, read_pause, stream, .. } = self;
        let linger = lingering.get_or_insert_with(|| {
            let rest = if let Reading::Body(framing) = reading { Some(*framing) } else { None };
            let mut linger = Linger::new(rest, timeouts);
            linger.takes(&buffered[*checked..]);
            linger
        });
        loop {
            let mut piece = [MaybeUninit::uninit(); DROPPED_PIECE];
            let mut piece = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut *stream).poll_read(context, &mut piece) {
                Poll::Pending => {
                    ready!(read_pause.timer.poll(linger.deadline(), context));
                    if !linger.goes_on() {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(Ok(())) if !piece.filled().is_empty() && linger.takes(piece.filled()) => {}
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }
}
