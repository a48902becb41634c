//! A body that streams, before its call's slot is spent.
//!
//! The end of a connection stands behind the bytes that were sent on it, and it does not even reach this machine while they
//! fill its receive buffer: the sender's kernel keeps up to some 4 MiB of what a client wrote before it hung up. So that
//! nothing is sent for a client that is gone, its body is read on first, as far as such a kernel could have it. The slot is
//! held meanwhile and not spent. All of this is bounded, in bytes and in time; beyond that a call goes out as it is.

use std::{sync::Arc, time::Duration};

use http_body::Body as _;
use tokio::{sync::Semaphore, time::timeout};

use crate::{call::Payload, message::body::BodyError, problem::Cause};

/// As far as a body is read: what the kernel of a sender keeps, and some more.
const MOST: u64 = 5 * 1024 * 1024;

/// How much of all bodies together.
const TOGETHER: u64 = 20 * 1024 * 1024;

/// What is counted at a time.
const UNIT: u64 = 1024;

/// How long a call waits for its part of that, and then for its body.
const PATIENCE: Duration = Duration::from_secs(1);

/// The runtime has been told of what the kernel knows when its shortest timer rings.
const A_TURN: Duration = Duration::from_millis(1);

/// What all bodies that are read ahead share.
#[derive(Debug)]
pub(super) struct Ahead {
    units: Arc<Semaphore>,
    max_body: u64,
}

impl Ahead {
    /// `max_body` is told to callers whose body turns out larger.
    pub(super) fn new(max_body: u64) -> Self {
        Self { units: Arc::new(Semaphore::new((TOGETHER / UNIT) as usize)), max_body }
    }

    /// Reads on in a body that streams. Where its client hung up, the connection's end is noticed by the time this returns,
    /// and ends the call.
    ///
    /// # Errors
    /// The body ends early.
    pub(super) async fn read(&self, payload: &mut Payload) -> Result<(), Cause> {
        let Payload::Streamed(body) = payload else { return Ok(()) };
        let bytes = body.size_hint().upper().unwrap_or(MOST).min(MOST);
        let units = Arc::clone(&self.units).acquire_many_owned(bytes.div_ceil(UNIT) as u32);
        let Ok(Ok(counted)) = timeout(PATIENCE, units).await else { return Ok(()) };
        match timeout(PATIENCE, body.read_ahead(bytes, counted)).await {
            // The client is alive: it goes on sending, or has more to send than a kernel keeps.
            Err(_) | Ok(Ok(false)) => {}
            Ok(Ok(true)) => tokio::time::sleep(A_TURN).await,
            Ok(Err(BodyError::TooLarge)) => return Err(Cause::BodyTooLarge { limit: self.max_body, form: false }),
            Ok(Err(BodyError::Refused)) => return Err(Cause::BodyOverrides),
            Ok(Err(_)) => return Err(Cause::BodyIncomplete),
        }
        Ok(())
    }
}
