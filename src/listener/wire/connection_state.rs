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

/// An answer's body, whose end the conversation is told.
#[derive(Debug)]
pub(in crate::listener) struct Answering {
    body: Body,
    connection_state: Arc<ConnectionState>,
}

impl Answering {
    pub(in crate::listener) fn new(body: Body, connection_state: Arc<ConnectionState>) -> Self {
        Self { body, connection_state }
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
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
