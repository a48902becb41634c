//! Malformed and unsupported requests. They are refused before any layer looks at what they ask for.

use std::{
    any::Any,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

/// An error in a request. The answer names it, and the connection ends with the answer.
///
/// Where RFC 9112 lets a server choose between repairing and refusing, the gateway refuses: what one server repairs,
/// the next one may read differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolFault {
    /// It breaks the grammar of RFC 9112 or contradicts itself; the text says how.
    Malformed(&'static str),
    /// Its request line alone exceeds the limit for heads (RFC 9110 section 15.5.15).
    TargetTooLong,
    /// Its head has too many bytes or too many fields (RFC 6585 section 5).
    HeadTooLarge,
    /// Its head did not arrive in time (RFC 9110 section 15.5.9).
    HeadTimeout,
    /// Its body did not arrive in time.
    BodyTimeout,
    /// Its version is neither HTTP/1.1 nor HTTP/1.0 (RFC 9110 section 15.6.6).
    Version,
    /// Its body has a transfer coding other than chunked (RFC 9112 section 6.1).
    TransferCoding,
    /// It expects something other than 100-continue (RFC 9110 section 10.1.1).
    Expectation,
}

/// The state of a connection's requests, numbered from 0.
#[derive(Debug, Default)]
pub struct RequestStates {
    /// The fault that ends the connection, and the number of its request; at most one.
    fault: OnceLock<(usize, ProtocolFault)>,
    /// How many requests arrived completely.
    whole: AtomicUsize,
}

/// One request's view of the state: first its head may be at fault, later its body.
#[derive(Debug, Clone)]
pub struct RequestState {
    number: usize,
    all: Arc<RequestStates>,
    waiting: Arc<AtomicBool>,
}

impl RequestStates {
    /// Notes a request's fault; only the first one counts.
    pub fn at_fault(&self, number: usize, fault: ProtocolFault) {
        let _ = self.fault.set((number, fault));
    }

    /// Notes that another request arrived completely.
    pub fn whole(&self) {
        self.whole.fetch_add(1, Relaxed);
    }
}

impl RequestState {
    /// The view of the request with this number.
    #[must_use]
    pub fn new(number: usize, all: Arc<RequestStates>) -> Self {
        Self { number, all, waiting: Arc::default() }
    }

    /// Its connection: two requests of one connection have the same, and it lives as long as the connection.
    #[must_use]
    pub fn connection(&self) -> Weak<dyn Any + Send + Sync> {
        let all: Arc<dyn Any + Send + Sync> = Arc::clone(&self.all) as _;
        Arc::downgrade(&all)
    }

    /// Says that the gateway reads nothing more before it sends the call. From here on only the connection shows that
    /// the caller has gone; until now reading showed it, and a body that ended early still gets an answer.
    pub fn waits(&self) {
        self.waiting.store(true, Relaxed);
    }

    /// Whether [`waits`](Self::waits) was called.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Relaxed)
    }

    /// The request's fault, if one is known by now.
    #[must_use]
    pub fn fault(&self) -> Option<ProtocolFault> {
        self.all.fault.get().filter(|(number, _)| *number == self.number).map(|(_, fault)| *fault)
    }

    /// Whether the body has arrived completely. If it has not when the answer is ready, the connection ends with the
    /// answer.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.all.whole.load(Relaxed) > self.number
    }
}
