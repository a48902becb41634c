//! The one body type that passes through the house, for requests and answers alike.
//!
//! What somebody had to look inside of is held as bytes; the rest streams on from the connection it came from. A
//! streamed request body keeps count of its size, because nobody measured it before.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{sync::OwnedSemaphorePermit, time::Sleep};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Bytes already at hand, then whatever still comes from a connection.
#[derive(Debug, Default)]
pub struct Body {
    head: Bytes,
    /// What of the rest was read ahead, and what counts it.
    ahead: VecDeque<Bytes>,
    counted: Option<OwnedSemaphorePermit>,
    rest: Option<Incoming>,
    trailers: Option<HeaderMap>,
    /// Takes from trailers what must not cross, as from headers.
    clean: Option<fn(&mut HeaderMap)>,
    /// How many more bytes `rest` may bring; `None`: any number.
    allowed: Option<u64>,
    /// Gives up on a rest that does not go on.
    stall_timeout: Option<StallTimeout>,
    /// Kept until the body has been written out, so that a drain waits for it.
    in_flight: Option<TaskTrackerToken>,
    /// May refuse what still comes.
    screen: Option<Screen>,
    /// Sees what passes.
    witness: Option<Arc<dyn Witness>>,
    /// A pause comes before an error.
    pauses: bool,
    /// Why the body ended, until the pause is over.
    error: Option<BodyError>,
}

/// Somebody who sees a body pass without holding it up.
pub trait Witness: std::fmt::Debug + Send + Sync {
    /// The next piece.
    fn passes(&self, data: &[u8]);

    /// That was all, to the proper end; may be told twice.
    fn has_passed(&self);
}

/// Says of each piece of a body's rest whether it may pass.
struct Screen(Box<Passes>);

type Passes = dyn FnMut(&[u8]) -> bool + Send + Sync;

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Screen")
    }
}

impl Body {
    /// A body of these bytes.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self { head: bytes.into(), ..Self::default() }
    }

    /// `head`, then the rest of a connection's message.
    #[must_use]
    pub fn streamed(head: Bytes, rest: Incoming) -> Self {
        Self { head, rest: Some(rest), ..Self::default() }
    }

    /// The rest of a body of which `bytes` were taken already, whole again.
    #[must_use]
    pub fn behind(mut self, bytes: Bytes) -> Self {
        self.head = bytes;
        self
    }

    /// The same body, followed by `trailers`.
    #[must_use]
    pub fn with_trailers(mut self, trailers: HeaderMap) -> Self {
        self.trailers = Some(trailers);
        self
    }

    /// The same body, its trailers passed through `clean`.
    #[must_use]
    pub fn with_clean_trailers(mut self, clean: fn(&mut HeaderMap)) -> Self {
        self.clean = Some(clean);
        self
    }

    /// The same body, ending in [`BodyError::TooLarge`] as soon as the rest brings more than `bytes`.
    #[must_use]
    pub fn at_most(mut self, bytes: u64) -> Self {
        self.allowed = Some(bytes);
        self
    }

    /// The same body, ending in [`BodyError::Stalled`] when the rest brings nothing for `span`.
    #[must_use]
    pub fn patient(mut self, span: Duration) -> Self {
        self.stall_timeout = Some(StallTimeout { span, end: None });
        self
    }

    /// The same body, ending in [`BodyError::Refused`] before the piece of its rest that `passes` says no to.
    #[must_use]
    pub fn screened(mut self, passes: impl FnMut(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        self.screen = Some(Screen(Box::new(passes)));
        self
    }

    /// The same body, passing before `witness`.
    #[must_use]
    pub fn before(mut self, witness: Arc<dyn Witness>) -> Self {
        self.witness = Some(witness);
        self
    }

    /// The same body, with one pause before it ends in an error. hyper writes out what it has whenever a body pauses, and
    /// at an error it drops that: without a pause a caller could get an end of the connection and not even a status line.
    #[must_use]
    pub fn pausing_before_an_error(mut self) -> Self {
        self.pauses = true;
        self
    }

    /// The bytes that were at hand from the beginning.
    #[must_use]
    pub fn first(&self) -> &[u8] {
        &self.head
    }

    /// How much of it is held in memory by now, in bytes.
    #[must_use]
    pub fn at_hand(&self) -> usize {
        let ahead: usize = self.ahead.iter().map(Bytes::len).sum();
        self.head.len() + ahead + self.trailers.as_ref().map_or(0, weight)
    }

    /// Reads on until so many bytes are at hand or the body has ended; says whether it has. What was read stays when this
    /// is dropped half-way. `counted` is kept as long as any of it is here.
    ///
    /// # Errors
    /// The body ends early.
    pub async fn read_ahead(&mut self, bytes: u64, counted: OwnedSemaphorePermit) -> Result<bool, BodyError> {
        self.counted = Some(counted);
        let mut at_hand = self.at_hand() as u64;
        while at_hand < bytes && self.rest.is_some() {
            let frame = poll_fn(|context| self.next_of_the_rest(context)).await.transpose()?;
            match frame.map(Frame::into_data) {
                None => self.rest = None,
                Some(Ok(data)) => {
                    at_hand += data.len() as u64;
                    self.ahead.push_back(data);
                }
                Some(Err(trailers)) => {
                    self.trailers = trailers.into_trailers().ok();
                    self.rest = None;
                }
            }
        }
        Ok(self.rest.as_ref().is_none_or(HttpBody::is_end_stream))
    }

    /// Keeps `token` until the body is done or dropped.
    #[must_use]
    pub fn in_flight(mut self, token: TaskTrackerToken) -> Self {
        self.in_flight = Some(token);
        self
    }
}

impl Body {
    /// The next frame, seen by nobody yet.
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.head.has_remaining() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.head)))));
        }
        if let Some(data) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        self.counted = None;
        if self.rest.is_none() {
            let trailers = self.trailers.take().map(Frame::trailers);
            return Poll::Ready(trailers.map(|frame| Ok(self.cleaned(frame))));
        }
        self.next_of_the_rest(context)
    }

    fn next_of_the_rest(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = match Pin::new(rest).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let stall_timeout =
                    self.stall_timeout.as_mut().map_or(Poll::Pending, |stall_timeout| stall_timeout.poll(context));
                return stall_timeout.map(|()| Some(Err(BodyError::Stalled)));
            }
        };
        if let Some(stall_timeout) = &mut self.stall_timeout {
            stall_timeout.end = None;
        }
        let Some(frame) = frame.transpose()? else { return Poll::Ready(None) };
        if let (Some(allowed), Some(data)) = (self.allowed, frame.data_ref()) {
            let left = allowed.checked_sub(data.len() as u64).ok_or(BodyError::TooLarge)?;
            self.allowed = Some(left);
        }
        if let (Some(Screen(passes)), Some(data)) = (&mut self.screen, frame.data_ref())
            && !passes(data)
        {
            return Poll::Ready(Some(Err(BodyError::Refused)));
        }
        Poll::Ready(Some(Ok(self.cleaned(frame))))
    }

    fn cleaned(&self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        if let (Some(clean), Some(trailers)) = (self.clean, frame.trailers_mut()) {
            clean(trailers);
        }
        frame
    }
}

/// How many bytes fields have, names and values together.
#[must_use]
pub fn weight(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

impl From<Incoming> for Body {
    fn from(incoming: Incoming) -> Self {
        Self::streamed(Bytes::new(), incoming)
    }
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The sender closed or broke the connection.
    #[error("the sender broke off")]
    Connection(#[from] hyper::Error),
    /// Nothing came for too long.
    #[error("the sender stalled")]
    Stalled,
    /// It grew over its limit.
    #[error("the body is larger than allowed")]
    TooLarge,
    /// What came next may not pass.
    #[error("the body has something that may not pass")]
    Refused,
}

/// How long a sender may pause. The timer is made at the first pause: most bodies have none.
#[derive(Debug)]
struct StallTimeout {
    span: Duration,
    end: Option<Pin<Box<Sleep>>>,
}

impl StallTimeout {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let end = self.end.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.span)));
        end.as_mut().poll(context)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = match self.next(context) {
            Poll::Ready(Some(Err(error))) if std::mem::take(&mut self.pauses) => {
                self.error = Some(error);
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            frame => frame,
        };
        if let (Some(witness), Poll::Ready(frame)) = (&self.witness, &frame) {
            if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
                witness.passes(data);
            }
            // Whoever knows the length does not ask for the end, and a chunked body has no other.
            let last = frame
                .as_ref()
                .is_some_and(|frame| frame.as_ref().is_ok_and(|frame| frame.is_trailers() || self.is_end_stream()));
            if frame.is_none() || last {
                witness.has_passed();
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        !self.head.has_remaining()
            && self.ahead.is_empty()
            && self.trailers.is_none()
            && self.error.is_none()
            && self.rest.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let head = self.head.len() as u64 + self.ahead.iter().map(|data| data.len() as u64).sum::<u64>();
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(head + rest.lower());
        // A body with trailers has to be chunked, so it does not tell its exact size.
        if let (Some(upper), None) = (rest.upper(), &self.trailers) {
            hint.set_upper(head + upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use http_body_util::BodyExt;
    use hyper::{client, server, service::service_fn};
    use hyper_util::rt::TokioIo;
    use parking_lot::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// An answer of which the first piece has come and the next thing is its early end.
    async fn breaking_off() -> Body {
        let (ours, mut theirs) = duplex(64 * 1024);
        tokio::spawn(async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(theirs.read_u8().await.unwrap());
            }
            theirs.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await.unwrap();
        });
        let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection);
        let mut rest = sender.send_request(Request::new(Body::default())).await.unwrap().into_body();
        let first = rest.frame().await.unwrap().unwrap().into_data().unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        Body::streamed(first, rest)
    }

    /// What a caller gets on its connection.
    async fn served(body: Body) -> String {
        let (server, mut caller) = duplex(64 * 1024);
        let body = Mutex::new(Some(body));
        let service = service_fn(move |_| {
            let body = body.lock().take().unwrap_or_default();
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        caller.write_all(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n").await.unwrap();
        let end = server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service).await;
        assert!(end.is_err(), "it broke off");
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// The end of an answer may come in the same moment as the bytes before it.
    #[tokio::test]
    async fn a_caller_gets_what_came_before_an_answer_broke_off() {
        assert_eq!(served(breaking_off().await).await, "", "so hyper does it by itself");
        let answer = served(breaking_off().await.pausing_before_an_error()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("first"), "{answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "its caller sees that it is cut: {answer}");
    }
}
