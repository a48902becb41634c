//! Strict HTTP/1.1 between a connection and hyper: checks what comes in, and limits how long each step may take.
//!
//! [`StrictHttp1`] hands hyper one message at a time (`incoming`) and limits how slowly an answer is taken
//! (`outgoing`). It checks each head as a whole before hyper sees a byte of it (`head`), and follows each body to its
//! end (`framing`), so it knows where the next head begins. It replaces a rejected head by a placeholder: the service
//! learns the fault from the request's state and answers as it answers every other request, and the connection ends
//! with the answer.
//!
//! RFC 3986 does not allow a raw `"` in a target, and hyper would reject it. Zoho's Calendar pages use it, so hyper
//! gets `%22` instead: apart from Expect fields, this is the only change to a request.

mod connection_state;
mod framing;
mod grammar;
mod head;
mod incoming;
mod linger;
mod outgoing;
mod pause;
mod timer;

use std::{sync::Arc, time::Duration};

use self::{framing::Framing, head::HeadParser, linger::Linger, pause::Pause};
use super::idle::{IdleConnections, IdleGuard};

pub(super) use connection_state::{ConnectionState, TrackedBody};

/// The size limits of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Request line and fields together, in bytes.
    pub bytes: usize,
    /// The number of fields.
    pub fields: usize,
}

/// The limits that a connection's requests must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The size limits of a head.
    pub head: HeadLimits,
    /// The largest body, in bytes.
    pub max_body: u64,
    /// How long a head may take, from its first byte on.
    pub header_timeout: Duration,
    /// How long the gateway waits for the bytes of one body, all pauses together.
    pub body_timeout: Duration,
    /// How long the gateway waits for a caller to take a piece of an answer, all pauses together.
    pub send_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub idle_timeout: Duration,
}

/// How many bytes are read, and handed to hyper, at a time. hyper doubles its buffer each time it is filled, up to
/// 400 KiB, and a kept piece of a body keeps the whole buffer. One byte less than its first size prevents that.
const HYPER_BUFFER: usize = 8 * 1024 - 1;

/// A connection that hands hyper checked HTTP/1.1, one message at a time.
#[derive(Debug)]
pub(super) struct StrictHttp1<S> {
    stream: S,
    timeouts: Timeouts,
    /// The idle connections of all listeners, and this one's entry while it is idle.
    idle: IdleConnections,
    idle_guard: Option<IdleGuard>,
    connection_state: Arc<ConnectionState>,
    reading: Reading,
    /// Bytes that were read and not yet handed to hyper.
    buffered: Vec<u8>,
    /// How many of the buffered bytes are checked and may be handed to hyper.
    checked: usize,
    /// Pauses in which the caller does not send, and does not take the answer.
    read_pause: Pause,
    write_pause: Pause,
    /// How many bytes the caller took of the current piece of an answer.
    taken: usize,
    lingering: Option<Linger>,
}

/// What is read next.
#[derive(Debug)]
enum Reading {
    Head(HeadParser),
    Body(Framing),
    /// Nothing more, because a head was rejected.
    Stopped,
    /// Nothing more, because a body had a fault: hyper sees the end of the connection, the service sees the fault.
    Cut,
}

impl<S> StrictHttp1<S> {
    pub(super) fn new(
        stream: S,
        timeouts: Timeouts,
        idle: IdleConnections,
        connection_state: Arc<ConnectionState>,
    ) -> Self {
        Self {
            stream,
            timeouts,
            idle,
            idle_guard: None,
            connection_state,
            reading: Reading::Head(HeadParser::default()),
            buffered: Vec::new(),
            checked: 0,
            read_pause: Pause::default(),
            write_pause: Pause::default(),
            taken: 0,
            lingering: None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
