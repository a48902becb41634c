//! Between a connection and hyper: what comes in is examined, and nobody may take for ever.
//!
//! A [`Wire`] hands on one message at a time (`incoming`) and answers as fast as they are taken (`outgoing`). Each head is
//! examined whole before hyper sees a byte of it (`head`), and each body followed to its end (`framing`), so that it is
//! known where the next head begins. A head that is not taken is replaced by one that stands for it; the service is told
//! its fault, refuses it like anything else, and the connection ends with the answer.
//!
//! A raw `"` in a target is no URI by RFC 3986, and hyper would refuse it. Zoho's Calendar pages show it, so it is handed
//! on as `%22`: the one place where a byte of a call is changed.

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

use self::{framing::Framing, head::Examiner, linger::Linger, pause::Pause};
use super::idle::{IdleConnections, Idler};

pub(super) use connection_state::{Answering, ConnectionState};

/// How large a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Request line and fields together, in bytes.
    pub bytes: usize,
    /// How many fields.
    pub fields: usize,
}

/// How patient the gateway is with those who call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// How large a head may be.
    pub head: HeadLimits,
    /// How large a body may be, in bytes.
    pub max_body: u64,
    /// How long a head may take, from its first byte on.
    pub header_timeout: Duration,
    /// How long the gateway waits for the bytes of one body, all pauses together.
    pub body_timeout: Duration,
    /// How long the gateway waits for a caller to take a piece of an answer, all pauses together.
    pub send_timeout: Duration,
    /// How long a connection may stand without a request.
    pub idle_timeout: Duration,
}

/// How much is read at a time where hyper's own buffer cannot be read into.
const PIECE: usize = 4096;

/// How much hyper gets at a time. Its buffer doubles each time it is filled, up to 400 KiB, and the pieces of a body that
/// somebody keeps hold all of it; one byte less than its first size keeps it there.
const HYPERS_BUFFER: usize = 8 * 1024 - 1;

/// A connection, one message at a time.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    timeouts: Timeouts,
    /// Where it says that it is idle, and while it is.
    idle: IdleConnections,
    idler: Option<Idler>,
    connection_state: Arc<ConnectionState>,
    at: At,
    /// What was read and not yet handed on.
    ahead: Vec<u8>,
    /// How many bytes of it may be handed on.
    examined: usize,
    /// Waiting for the other side to send, and to take.
    read_pause: Pause,
    write_pause: Pause,
    /// How much was taken of the piece of an answer that is going out.
    taken: usize,
    lingering: Option<Linger>,
}

#[derive(Debug)]
enum At {
    Head(Examiner),
    Body(Framing),
    /// After a head that was not taken: nothing more is read.
    End,
    /// After a body that broke off: hyper is told that it ended, and the service why.
    Cut,
}

impl<S> Wire<S> {
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
            idler: None,
            connection_state,
            at: At::Head(Examiner::default()),
            ahead: Vec::new(),
            examined: 0,
            read_pause: Pause::default(),
            write_pause: Pause::default(),
            taken: 0,
            lingering: None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
