//! What the two ends of a connection's work tell each other: the stream, which knows what comes in, and the service,
//! which knows what is being answered.

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

/// One connection's requests, numbered in the order in which they come.
#[derive(Debug, Default)]
pub(in crate::listener) struct ConnectionState {
    /// How many heads were handed to hyper.
    asked: AtomicUsize,
    /// How many of them hyper handed on.
    begun: AtomicUsize,
    answered: Mutex<Answered>,
    request_states: Arc<RequestStates>,
}

/// Which of them have their answer.
#[derive(Debug, Default)]
struct Answered {
    requests: usize,
    /// When the last one had the end of its answer.
    at: Option<Instant>,
}

impl ConnectionState {
    /// A head was handed to hyper.
    pub(super) fn asked(&self) {
        self.asked.fetch_add(1, Relaxed);
    }

    /// The head that comes next stands for one that has this fault.
    pub(super) fn asked_wrongly(&self, fault: ProtocolFault) {
        self.request_states.at_fault(self.asked.fetch_add(1, Relaxed), fault);
    }

    /// The body of the newest request has this fault.
    pub(super) fn broke_off(&self, fault: ProtocolFault) {
        self.request_states.at_fault(self.asked.load(Relaxed).saturating_sub(1), fault);
    }

    /// The newest request has come to its end.
    pub(super) fn came_whole(&self) {
        self.request_states.whole();
    }

    /// Since when nobody waits for an answer, if nobody does; `None` before the first answer.
    pub(super) fn quiet(&self) -> Result<Option<Instant>, Busy> {
        let answered = self.answered.lock();
        if answered.requests == self.asked.load(Relaxed) { Ok(answered.at) } else { Err(Busy) }
    }

    /// A request came through to the service.
    pub(in crate::listener) fn begins(&self) -> RequestState {
        RequestState::new(self.begun.fetch_add(1, Relaxed), Arc::clone(&self.request_states))
    }
}

/// A request is still to be answered.
#[derive(Debug)]
pub(super) struct Busy;

/// An answer's body, which tells the connection of its end.
///
/// It pauses once before it ends in an error. hyper writes out what it has whenever a body pauses, and at an error it drops
/// that: without a pause a caller could get the end of the connection and not even a status line.
#[derive(Debug)]
pub(in crate::listener) struct Answering {
    body: Body,
    /// Why the body ended, until the pause is over.
    error: Option<BodyError>,
    connection_state: Arc<ConnectionState>,
}

impl Answering {
    pub(in crate::listener) fn new(body: Body, connection_state: Arc<ConnectionState>) -> Self {
        Self { body, error: None, connection_state }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut answered = self.connection_state.answered.lock();
        answered.requests += 1;
        answered.at = Some(clock::now());
    }
}

impl HttpBody for Answering {
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
        assert!(end.is_err(), "it broke off");
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// The end of an answer may come in the same moment as the bytes before it.
    #[tokio::test]
    async fn a_caller_gets_what_came_before_an_answer_broke_off() {
        assert_eq!(served(breaking_off().await).await, "", "so hyper does it by itself");
        let answer = served(Answering::new(breaking_off().await, Arc::default())).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("first"), "{answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "its caller sees that it is cut: {answer}");
    }
}
