//! The right to send one call, and its trace in the ledger.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{RouteLimiter, SlotRequest, limiter::LockHit, window::Grant};
use crate::os::clock;

/// One slot. Dropped before [`sending`](Self::sending) it is refunded; dropped after it without an answer it stays
/// charged until nothing of the call can arrive any more.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<RouteLimiter>,
    grant: Grant,
    request: SlotRequest,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Held,
    /// The number is the recorder's.
    Sent {
        at: Instant,
        number: u64,
    },
    Answered,
    Executed,
    Locked,
}

impl Permit {
    /// Only a line mints permits.
    pub(super) fn new(limiter: Arc<RouteLimiter>, grant: Grant, request: SlotRequest) -> Self {
        Self { limiter, grant, request, stage: Stage::Held }
    }

    /// To be called just before the first byte may leave.
    ///
    /// # Errors
    /// The end of a lock that came since the permit was given: then nothing may be sent, and the permit is worth nothing.
    pub fn sending(&mut self) -> Result<(), Instant> {
        self.limiter.overtaken(self.grant).map_or(Ok(()), Err)?;
        let at = clock::now();
        let number = self.limiter.context().history.sent(self.limiter.key(), &self.request, at);
        self.stage = Stage::Sent { at, number };
        Ok(())
    }

    /// Resolves when a lock comes that this call may not be sent in, with its end.
    pub async fn overtaken(&self) -> Instant {
        self.limiter.overtaking(self.grant).await
    }

    /// It is certain that no byte left after all: no connection came about.
    pub fn not_sent(&mut self) {
        if let Stage::Sent { number, .. } = self.stage {
            self.limiter.context().history.not_sent(number);
            self.stage = Stage::Held;
        }
    }

    /// To be called as soon as the answer's head is there.
    pub fn answered(&mut self) {
        if let Stage::Sent { at, number } = self.stage {
            self.stage = Stage::Answered;
            self.limiter.change(|window, now| window.answered(now, at));
            self.limiter.context().history.ended(number, clock::now(), true);
        }
    }

    /// The answer says nothing of a lock.
    pub fn executed(&mut self) {
        if let Stage::Answered = self.stage {
            self.stage = Stage::Executed;
            let grant = self.grant;
            self.limiter.change(|window, _| window.executed(grant));
        }
    }

    /// The answer says that the call is locked. `None` when the lock has no length.
    pub fn locked(&mut self, retry_after: Option<Duration>) -> Option<LockHit> {
        let hit = self.limiter.lock(retry_after)?;
        self.stage = Stage::Locked;
        Some(hit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let grant = self.grant;
        match self.stage {
            Stage::Held => self.limiter.change(|window, _| window.refund(grant)),
            Stage::Sent { number, .. } => {
                self.limiter.worsen(|window, now| window.lost(now, grant));
                self.limiter.context().history.ended(number, clock::now(), false);
            }
            Stage::Answered => self.limiter.change(|window, _| window.unread(grant)),
            Stage::Executed | Stage::Locked => {}
        }
    }
}
