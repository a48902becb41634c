//! What a request can have against HTTP itself: reasons to refuse it before anybody asks what it wants.

use std::sync::{Arc, OnceLock};

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

/// The fault that ends a connection: at most one, and of which request, counted from 0.
#[derive(Debug, Default)]
pub struct LastFault(OnceLock<(usize, ProtocolFault)>);

/// A request's own view of it: its head may be at fault, or later its body. Travels in the request's extensions.
#[derive(Debug, Clone)]
pub struct RequestFault {
    number: usize,
    fault: Arc<LastFault>,
}

impl LastFault {
    /// This request is at fault; the first word counts.
    pub fn set(&self, number: usize, fault: ProtocolFault) {
        let _ = self.0.set((number, fault));
    }
}

impl RequestFault {
    /// Of the request with this number.
    #[must_use]
    pub fn new(number: usize, fault: Arc<LastFault>) -> Self {
        Self { number, fault }
    }

    /// What the request has against HTTP, as far as is known by now.
    #[must_use]
    pub fn get(&self) -> Option<ProtocolFault> {
        self.fault.0.get().filter(|(number, _)| *number == self.number).map(|(_, fault)| *fault)
    }
}
