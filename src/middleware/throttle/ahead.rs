//! Reads ahead in a streamed body before its call uses a slot.
//!
//! The end of a connection comes after the bytes that were sent on it, and does not reach this machine while they fill its
//! receive buffer: the sender's kernel keeps up to some 4 MiB that a client wrote before it left. So that nothing is sent
//! for a client that has left, its body is read first, as far as such a kernel could hold it. Meanwhile the slot is held but
//! not used. Bytes and time are bounded; beyond the bound the call is sent as it is.

use std::{sync::Arc, time::Duration};

use http_body::Body as _;
use tokio::{sync::Semaphore, time::timeout};

use crate::{call::Payload, message::body::BodyError, problem::Cause};

/// The most that is read of one body: what a sender's kernel keeps, and some more.
const MAX_BODY: u64 = 5 * 1024 * 1024;

/// The most that is read of all bodies together.
const MAX_TOTAL: u64 = 20 * 1024 * 1024;

/// The unit of the count, in bytes.
const UNIT: u64 = 1024;

/// How long a call waits for its part of the total, and then for its body.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The shortest timer of the runtime. After it, the runtime has seen the end of a connection that the kernel knows.
const RUNTIME_TURN: Duration = Duration::from_millis(1);

/// Reads ahead in streamed bodies, within a common bound.
#[derive(Debug)]
pub(super) struct Ahead {
    units: Arc<Semaphore>,
    max_body: u64,
}

impl Ahead {
    /// `max_body`: the limit that a rejection of a larger body names.
    pub(super) fn new(max_body: u64) -> Self {
        Self { units: Arc::new(Semaphore::new((MAX_TOTAL / UNIT) as usize)), max_body }
    }

    /// Reads ahead in a streamed body. If its client has left, the connection's end is noticed meanwhile and ends the call.
    ///
    /// # Errors
    /// The body ends early or is rejected.
    pub(super) async fn read(&self, payload: &mut Payload) -> Result<(), Cause> {
        let Payload::Streamed(body) = payload else { return Ok(()) };
        let bytes = body.size_hint().upper().unwrap_or(MAX_BODY).min(MAX_BODY);
        let units = Arc::clone(&self.units).acquire_many_owned(bytes.div_ceil(UNIT) as u32);
        let Ok(Ok(counted)) = timeout(TIMEOUT, units).await else { return Ok(()) };
        match timeout(TIMEOUT, body.read_ahead(bytes, counted)).await {
            // The client is present: it continues to send, or has more to send than a kernel keeps.
            Err(_) | Ok(Ok(false)) => {}
            Ok(Ok(true)) => tokio::time::sleep(RUNTIME_TURN).await,
            Ok(Err(BodyError::TooLarge)) => return Err(Cause::BodyTooLarge { limit: self.max_body, form: false }),
            Ok(Err(BodyError::Refused)) => return Err(Cause::BodyOverrides),
            Ok(Err(_)) => return Err(Cause::BodyIncomplete),
        }
        Ok(())
    }
}
