//! What a caller gets: written, and not waited for without end.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{At, Wire, linger::Linger};

/// Of an answer, so much has to be taken within `send_timeout`; a write takes up to the double, since the system tells of
/// what was taken in large steps.
const PIECE_OF_AN_ANSWER: usize = 64 * 1024;

/// How much is read at a time of what is dropped.
const DROPPED_PIECE: usize = 16 * 1024;

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
            let overdue = self.write_pause.exceeds(self.timeouts.send_timeout, context);
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

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Reads what still comes and drops it, until nothing more is to come or it takes too long.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Self { at, ahead, examined, timeouts, lingering, read_pause, stream, .. } = self;
        let linger = lingering.get_or_insert_with(|| {
            let rest = if let At::Body(framing) = at { Some(*framing) } else { None };
            let mut linger = Linger::new(rest, timeouts);
            linger.takes(&ahead[*examined..]);
            linger
        });
        loop {
            let mut piece = [MaybeUninit::uninit(); DROPPED_PIECE];
            let mut piece = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut *stream).poll_read(context, &mut piece) {
                Poll::Pending => {
                    ready!(read_pause.timer.poll(linger.moment(), context));
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
