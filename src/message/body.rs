//! The one body type of the gateway, for requests and answers.
//!
//! The part that a layer has read is held as bytes; the rest streams from its connection. The features that limit,
//! inspect or time a streamed body are fields here, not wrappers: a wrapper would cost each request an allocation and
//! each piece of a body a dynamic call.

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
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::Sleep,
};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Bytes that are already read, then the rest from a connection, or from a task of the gateway.
#[derive(Debug, Default)]
pub struct Body {
    head: Bytes,
    /// The part of the rest that was read ahead, and the permit that counts it.
    ahead: VecDeque<Bytes>,
    counted: Option<OwnedSemaphorePermit>,
    rest: Option<Rest>,
    trailers: Option<HeaderMap>,
    /// Removes trailer fields that must not be passed on, as is done for headers.
    clean: Option<fn(&mut HeaderMap)>,
    /// How many more bytes `rest` may have; `None` means any number.
    allowed: Option<u64>,
    /// Ends a rest that stalls.
    stall_timeout: Option<StallTimeout>,
    /// Held until the body is written, so that a drain waits for it.
    in_flight: Option<TaskTrackerToken>,
    /// May refuse parts of the rest.
    filter: Option<Filter>,
    /// Observes all data.
    witness: Option<Arc<dyn Witness>>,
}

/// Where the rest comes from.
#[derive(Debug)]
enum Rest {
    Connection(Incoming),
    Task(mpsc::Receiver<Bytes>),
}

/// Observes a body without delaying it.
pub trait Witness: std::fmt::Debug + Send + Sync {
    /// Gets the next piece of data.
    fn passes(&self, data: &[u8]);

    /// The body has ended properly. This may be called twice.
    fn has_passed(&self);
}

/// Decides for each piece of a body's rest whether it may pass.
struct Filter(Box<Passes>);

type Passes = dyn FnMut(&[u8]) -> bool + Send + Sync;

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filter")
    }
}

impl Body {
    /// A body of these bytes.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self { head: bytes.into(), ..Self::default() }
    }

    /// `head`, then the rest from a connection.
    #[must_use]
    pub fn streamed(head: Bytes, rest: Incoming) -> Self {
        Self { head, rest: Some(Rest::Connection(rest)), ..Self::default() }
    }

    /// What a task of the gateway sends, until it drops the sender.
    #[must_use]
    pub fn sent_by_task(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self { rest: Some(Rest::Task(pieces)), ..Self::default() }
    }

    /// Puts `bytes` that were read earlier before the rest again.
    #[must_use]
    pub fn behind(mut self, bytes: Bytes) -> Self {
        self.head = bytes;
        self
    }

    /// Adds `trailers` at the end.
    #[must_use]
    pub fn with_trailers(mut self, trailers: HeaderMap) -> Self {
        self.trailers = Some(trailers);
        self
    }

    /// Passes the trailers through `clean`.
    #[must_use]
    pub fn with_clean_trailers(mut self, clean: fn(&mut HeaderMap)) -> Self {
        self.clean = Some(clean);
        self
    }

    /// Ends the body in [`BodyError::TooLarge`] as soon as the rest has more than `bytes`.
    #[must_use]
    pub fn at_most(mut self, bytes: u64) -> Self {
        self.allowed = Some(bytes);
        self
    }

    /// Ends the body in [`BodyError::Stalled`] when no data arrives for `span`.
    #[must_use]
    pub fn patient(mut self, span: Duration) -> Self {
        self.stall_timeout = Some(StallTimeout { span, end: None });
        self
    }

    /// Ends the body in [`BodyError::Refused`] before the first piece of the rest that `passes` rejects.
    #[must_use]
    pub fn screened(mut self, passes: impl FnMut(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Filter(Box::new(passes)));
        self
    }

    /// Shows all data to `witness`.
    #[must_use]
    pub fn before(mut self, witness: Arc<dyn Witness>) -> Self {
        self.witness = Some(witness);
        self
    }

    /// The bytes that the body began with.
    #[must_use]
    pub fn first(&self) -> &[u8] {
        &self.head
    }

    /// How many bytes are held in memory now.
    #[must_use]
    pub fn at_hand(&self) -> usize {
        let ahead: usize = self.ahead.iter().map(Bytes::len).sum();
        self.head.len() + ahead + self.trailers.as_ref().map_or(0, weight)
    }

    /// Reads until `bytes` are held or the body has ended; returns whether it has ended. Data that was read stays when
    /// this future is dropped. `counted` is held as long as the data.
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

    /// Holds `token` until the body is done or dropped.
    #[must_use]
    pub fn in_flight(mut self, token: TaskTrackerToken) -> Self {
        self.in_flight = Some(token);
        self
    }
}

impl Body {
    /// The next frame, before the witness sees it.
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
        if let (Some(Filter(passes)), Some(data)) = (&mut self.filter, frame.data_ref())
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

/// The size of fields in bytes, names and values together.
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
    /// No data arrived for too long.
    #[error("the sender stalled")]
    Stalled,
    /// The body exceeds its limit.
    #[error("the body is larger than allowed")]
    TooLarge,
    /// The filter rejected the next piece.
    #[error("the body has something that may not pass")]
    Refused,
}

/// How long a sender may pause. The timer is created at the first pause, because most bodies have none.
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

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Connection(incoming) => Pin::new(incoming).poll_frame(context),
            Self::Task(pieces) => pieces.poll_recv(context).map(|data| data.map(|data| Ok(Frame::data(data)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Connection(incoming) => incoming.is_end_stream(),
            Self::Task(pieces) => pieces.is_closed() && pieces.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Connection(incoming) => incoming.size_hint(),
            Self::Task(_) => SizeHint::new(),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = self.next(context);
        if let (Some(witness), Poll::Ready(frame)) = (&self.witness, &frame) {
            if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
                witness.passes(data);
            }
            // A reader that knows the length does not poll the end, and a chunked body has no other sign of it.
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
            && self.rest.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let head = self.head.len() as u64 + self.ahead.iter().map(|data| data.len() as u64).sum::<u64>();
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(head + rest.lower());
        // A body with trailers must be chunked, so it does not report its exact size.
        if let (Some(upper), None) = (rest.upper(), &self.trailers) {
            hint.set_upper(head + upper);
        }
        hint
    }
}
