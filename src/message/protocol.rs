//! What a request can have against HTTP itself: reasons to refuse it before anybody asks what it wants.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

/// A request that is answered with its fault, and whose connection ends with the answer.
///
/// Where RFC 9112 lets a server choose between repairing and refusing, the gateway refuses: what one server repairs,
/// the next one may read differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolFault {
    /// It breaks the grammar of RFC 9112, or says something twice in different ways; what is wrong with it.
    Malformed(&'static str),
    /// Its request line alone is longer than a head may be (RFC 9110 section 15.5.15).
    TargetTooLong,
    /// Its head has more bytes or more fields than it may (RFC 6585 section 5).
    HeadTooLarge,
    /// Its head took too long to come (RFC 9110 section 15.5.9).
    HeadTimeout,
    /// The gateway waited for its body for as long as it may.
    BodyTimeout,
    /// It is of another version than HTTP/1.1 or 1.0 (RFC 9110 section 15.6.6).
    Version,
    /// Its body has a transfer coding other than chunked (RFC 9112 section 6.1).
    TransferCoding,
    /// It expects something other than 100-continue (RFC 9110 section 10.1.1).
    Expectation,
}

/// How a connection's requests come in, numbered from 0.
#[derive(Debug, Default)]
pub struct RequestStates {
    /// What ends the connection, and at which request: at most one.
    fault: OnceLock<(usize, ProtocolFault)>,
    /// How many came whole.
    whole: AtomicUsize,
}

/// A request's own view of it: its head may be at fault, or later its body.
#[derive(Debug, Clone)]
pub struct RequestState {
    number: usize,
    all: Arc<RequestStates>,
    waiting: Arc<AtomicBool>,
}

impl RequestStates {
    /// This request is at fault; the first word counts.
    pub fn at_fault(&self, number: usize, fault: ProtocolFault) {
        let _ = self.fault.set((number, fault));
    }

    /// One more has come to the end of its body.
    pub fn whole(&self) {
        self.whole.fetch_add(1, Relaxed);
    }
}

impl RequestState {
    /// Of the request with this number.
    #[must_use]
    pub fn new(number: usize, all: Arc<RequestStates>) -> Self {
        Self { number, all, waiting: Arc::default() }
    }

    /// All of the request is read that is read before the call is sent. From here on only the connection tells that its
    /// caller is gone: until now reading told it, and a body that ended too early still gets an answer.
    pub fn waits(&self) {
        self.waiting.store(true, Relaxed);
    }

    /// Whether [`waits`](Self::waits) was called.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Relaxed)
    }

    /// What the request has against HTTP, as far as is known by now.
    #[must_use]
    pub fn fault(&self) -> Option<ProtocolFault> {
        self.all.fault.get().filter(|(number, _)| *number == self.number).map(|(_, fault)| *fault)
    }

    /// Whether all of its body is here by now. Where it is not when its answer is, the connection ends with the answer.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.all.whole.load(Relaxed) > self.number
    }
}
