//! What the stream and the service of one connection share: the stream knows what comes in, the service knows what is
//! being answered.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    message::{
        body::{Body, BodyError},
        protocol::{ProtocolFault, RequestState, RequestStates},
    },
    os::clock,
};

/// One connection's requests, numbered in the order in which they arrive.
#[derive(Debug, Default)]
pub(in crate::listener) struct ConnectionState {
    /// How many heads were handed to hyper.
    forwarded: AtomicUsize,
    /// How many requests hyper handed to the service.
    begun: AtomicUsize,
    answered: Mutex<Answered>,
    request_states: Arc<RequestStates>,
}

/// The requests whose answer has ended.
#[derive(Debug, Default)]
struct Answered {
    requests: usize,
    /// When the last answer ended.
    last: Option<Instant>,
}

impl ConnectionState {
    /// Notes that a head is handed to hyper.
    pub(super) fn head_forwarded(&self) {
        self.forwarded.fetch_add(1, Relaxed);
    }

    /// Notes that the placeholder of a head with this fault is handed to hyper.
    pub(super) fn placeholder_forwarded(&self, fault: ProtocolFault) {
        self.request_states.at_fault(self.forwarded.fetch_add(1, Relaxed), fault);
    }

    /// Notes that the body of the newest request has this fault.
    pub(super) fn body_failed(&self, fault: ProtocolFault) {
        self.request_states.at_fault(self.forwarded.load(Relaxed).saturating_sub(1), fault);
    }

    /// Notes that the newest request arrived completely.
    pub(super) fn request_complete(&self) {
        self.request_states.whole();
    }

    /// When the last answer ended; `None` before the first answer.
    ///
    /// # Errors
    /// [`Busy`], while a request has no complete answer.
    pub(super) fn last_answered(&self) -> Result<Option<Instant>, Busy> {
        let answered = self.answered.lock();
        if answered.requests == self.forwarded.load(Relaxed) { Ok(answered.last) } else { Err(Busy) }
    }

    /// Notes that the next request reached the service, and gives its state.
    pub(in crate::listener) fn begin_request(&self) -> RequestState {
        RequestState::new(self.begun.fetch_add(1, Relaxed), Arc::clone(&self.request_states))
    }
}

/// A request has no complete answer yet.
#[derive(Debug)]
pub(super) struct Busy;

/// An answer's body that notes its end in the connection's state.
///
/// It pauses once before it ends in an error. hyper writes its buffer whenever a body pauses, and drops the buffer at
/// an error. Without the pause a caller could see the connection end before the status line.
#[derive(Debug)]
pub(in crate::listener) struct TrackedBody {
    body: Body,
    /// The error, while the pause lasts.
    error: Option<BodyError>,
    connection_state: Arc<ConnectionState>,
}

impl TrackedBody {
    pub(in crate::listener) fn new(body: Body, connection_state: Arc<ConnectionState>) -> Self {
        Self { body, error: None, connection_state }
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        let mut answered = self.connection_state.answered.lock();
        answered.requests += 1;
        answered.last = Some(clock::now());
    }
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Err(error))) => {
                self.error = Some(error);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            frame => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.error.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use http_body_util::BodyExt;
    use hyper::{body::Body as HttpBody, client, server, service::service_fn};
    use hyper_util::rt::TokioIo;
    use parking_lot::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// An answer that ends early, after its first piece.
    async fn truncated() -> Body {
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

    /// What a caller receives for an answer with this body.
    async fn served<B>(body: B) -> String
    where
        B: HttpBody<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
    {
        let (server, mut caller) = duplex(64 * 1024);
        let body = Mutex::new(Some(body));
        let service = service_fn(move |_| {
            let body = body.lock().take().unwrap();
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        caller.write_all(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n").await.unwrap();
        let end = server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service).await;
        assert!(end.is_err(), "the answer ends early");
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// The early end of an answer may arrive at the same moment as the bytes before it.
    #[tokio::test]
    async fn a_caller_gets_the_bytes_before_an_early_end() {
        assert_eq!(served(truncated().await).await, "", "hyper alone drops them");
        let answer = served(TrackedBody::new(truncated().await, Arc::default())).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("first"), "{answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "the caller sees that the answer is truncated: {answer}");
    }
}
