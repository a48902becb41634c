//! The right to send one call, and its trace in the ledger.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Claim, Line, bucket::Taken, line::Met};
use crate::os::clock;

/// One slot. Dropped before [`sending`](Self::sending) it is refunded; dropped after it without an answer it stays
/// charged until nothing of the call can arrive any more.
#[derive(Debug)]
pub struct Permit {
    line: Arc<Line>,
    taken: Taken,
    claim: Claim,
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
    pub(super) fn new(line: Arc<Line>, taken: Taken, claim: Claim) -> Self {
        Self { line, taken, claim, stage: Stage::Held }
    }

    /// To be called just before the first byte may leave.
    ///
    /// # Errors
    /// The end of a lock that came since the permit was given: then nothing may be sent, and the permit is worth nothing.
    pub fn sending(&mut self) -> Result<(), Instant> {
        self.line.overtaken(self.taken).map_or(Ok(()), Err)?;
        let at = clock::now();
        let number = self.line.books().recorder.sent(self.line.key(), &self.claim, at);
        self.stage = Stage::Sent { at, number };
        Ok(())
    }

    /// Resolves when a lock comes that this call may not be sent in, with its end.
    pub async fn overtaken(&self) -> Instant {
        self.line.overtaking(self.taken).await
    }

    /// It is certain that no byte left after all: no connection came about.
    pub fn not_sent(&mut self) {
        if let Stage::Sent { number, .. } = self.stage {
            self.line.books().recorder.not_sent(number);
            self.stage = Stage::Held;
        }
    }

    /// To be called as soon as the answer's head is there.
    pub fn answered(&mut self) {
        if let Stage::Sent { at, number } = self.stage {
            self.stage = Stage::Answered;
            self.line.change(|bucket, now| bucket.answered(now, at));
            self.line.books().recorder.ended(number, clock::now(), true);
        }
    }

    /// The answer says nothing of a lock.
    pub fn executed(&mut self) {
        if let Stage::Answered = self.stage {
            self.stage = Stage::Executed;
            let taken = self.taken;
            self.line.change(|bucket, _| bucket.executed(taken));
        }
    }

    /// The answer says that the call is locked. `None` when the lock has no length.
    pub fn locked(&mut self, retry_after: Option<Duration>) -> Option<Met> {
        let met = self.line.lock(retry_after)?;
        self.stage = Stage::Locked;
        Some(met)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let taken = self.taken;
        match self.stage {
            Stage::Held => self.line.change(|bucket, _| bucket.refund(taken)),
            Stage::Sent { number, .. } => {
                self.line.worsen(|bucket, now| bucket.lost(now, taken));
                self.line.books().recorder.ended(number, clock::now(), false);
            }
            Stage::Answered => self.line.change(|bucket, _| bucket.unread(taken)),
            Stage::Executed | Stage::Locked => {}
        }
    }
}
