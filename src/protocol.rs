//! What a request can have against HTTP itself: reasons to refuse it before anybody asks what it wants.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderName, StatusCode, header};

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

/// Takes away the fields that `Connection` names (RFC 9110 section 7.6.1): they are for whoever receives the message, and
/// go no further. For a request that is before anything is judged by them, or it would be judged by what is not sent.
/// Those that are to be `kept` are not for whoever comes next anyway.
pub fn take_connection_options(headers: &mut HeaderMap, kept: impl Fn(&str) -> bool) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    // By bytes: an option that is no ASCII must not hide the others of its line.
    let listed =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names: Vec<_> = listed.filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok()).collect();
    for name in names.into_iter().filter(|name| !kept(name.as_str())) {
        headers.remove(name);
    }
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

impl ProtocolFault {
    /// The status that says so.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::HeadTimeout | Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
        }
    }

    /// What is wrong, and what to do about it.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            Self::Malformed(detail) => detail,
            Self::TargetTooLong => "the request line is longer than a head may be (proxy.max_header_bytes)",
            Self::HeadTooLarge => {
                "the head has more bytes or more fields than it may (proxy.max_header_bytes, proxy.max_headers)"
            }
            Self::HeadTimeout => "the head was not complete in time (proxy.header_timeout)",
            Self::BodyTimeout => "the gateway waited for the body for as long as it may (proxy.body_timeout)",
            Self::Version => "only HTTP/1.1 and HTTP/1.0 are spoken here",
            Self::TransferCoding => "the only transfer coding taken is chunked",
            Self::Expectation => "the only expectation that can be met is 100-continue",
        }
    }
}
