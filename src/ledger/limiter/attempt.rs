//! One call that is about to be sent or was sent, and everything that can happen to it.

use std::{future::pending, pin::pin, sync::Arc, time::Duration};

use http::StatusCode;
use tokio::time::Instant;

use super::{
    super::{AttemptOf, Key, LimiterContext, LockHit, SlotRequest, Step, window::Grant},
    Refused, RouteLimiter,
};
use crate::os::clock;

/// The right to send one call once. Only the ledger makes attempts, and only a call with one can be sent.
///
/// Each event of its life is a [`Step`], which is applied to the ledger and then passed to the observers. Dropped
/// before [`sending`](Self::sending), it gives its slot back. Dropped later without an answer, it keeps its slot in use
/// until no byte of the call can arrive any more.
#[derive(Debug)]
pub struct Attempt {
    key: Arc<Key>,
    request: SlotRequest,
    context: LimiterContext,
    /// `None` where the route has no threshold.
    slot: Option<Slot>,
    stage: Stage,
}

#[derive(Debug)]
struct Slot {
    limiter: Arc<RouteLimiter>,
    grant: Grant,
    /// The call's number in the history of calls.
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Held,
    Sent { at: Instant },
    Answered,
    Judged,
}

/// The ledger's statement that a route has no threshold.
#[derive(Debug, Clone)]
pub struct Unlimited {
    key: Arc<Key>,
    context: LimiterContext,
}

impl Unlimited {
    /// For routes without a threshold, so only the ledger may call it.
    pub(in crate::ledger) fn new(key: Key, context: LimiterContext) -> Self {
        Self { key: Arc::new(key), context }
    }

    /// An attempt without a slot.
    ///
    /// # Errors
    /// As [`verdict`](Self::verdict).
    pub fn attempt(self, request: SlotRequest) -> Result<Attempt, Refused> {
        self.verdict(&request)?;
        Ok(Attempt { key: self.key, request, context: self.context, slot: None, stage: Stage::Held })
    }

    /// Whether an attempt would be refused.
    ///
    /// # Errors
    /// [`Refused::Paused`].
    pub fn verdict(&self, request: &SlotRequest) -> Result<(), Refused> {
        let hold = self.context.pauses.hold(&self.key, &request.caller, clock::now());
        hold.map_or(Ok(()), |retry_after| Err(Refused::Paused { retry_after }))
    }
}

impl Attempt {
    /// An attempt with a slot that was just taken.
    pub(super) fn with_slot(limiter: &Arc<RouteLimiter>, grant: Grant, request: SlotRequest) -> Self {
        Self {
            key: Arc::clone(&limiter.key),
            request,
            context: limiter.context.clone(),
            slot: Some(Slot { limiter: Arc::clone(limiter), grant, number: 0 }),
            stage: Stage::Held,
        }
    }

    /// Must be called just before the first byte may leave.
    ///
    /// # Errors
    /// The end of a lock that came after the slot was taken: then nothing may be sent.
    pub fn sending(&mut self) -> Result<(), Instant> {
        let held_back = self.slot.as_ref().and_then(|slot| slot.limiter.slots.held_back(slot.grant));
        held_back.map_or(Ok(()), Err)?;
        let at = clock::now();
        if let Some(slot) = &mut self.slot {
            slot.number = self.context.history.sent(&self.key, &self.request, at);
        }
        self.stage = Stage::Sent { at };
        self.step(Step::Sending);
        Ok(())
    }

    /// Resolves when a lock comes during which this call must not be sent, with the end of the lock.
    pub async fn held_back(&self) -> Instant {
        let Some(Slot { limiter, grant, .. }) = &self.slot else { return pending().await };
        loop {
            let mut locked = pin!(limiter.slots.locks().notified());
            // Listening starts first, so that no lock between the two is missed.
            locked.as_mut().enable();
            if let Some(until) = limiter.slots.held_back(*grant) {
                return until;
            }
            locked.await;
        }
    }

    /// No byte has left after all, because no connection was made. Does nothing unless the call counts as sent.
    pub fn not_sent(&mut self) {
        if let Stage::Sent { .. } = self.stage {
            self.stage = Stage::Held;
            self.step(Step::NotSent);
        }
    }

    /// Must be called as soon as the answer's head has arrived.
    pub fn answered(&mut self, status: StatusCode) {
        if let Stage::Sent { at: sent_at } = self.stage {
            self.stage = Stage::Answered;
            self.step(Step::Answered { sent_at, status });
        }
    }

    /// The answer says that Zoho did not execute the call. Its body may say more later.
    pub fn refused(&mut self) {
        self.step(Step::Refused);
    }

    /// The answer says that the route is locked. `None` when the lock has no length, or the route has no threshold.
    pub fn locked(&mut self, retry_after: Option<Duration>) -> Option<LockHit> {
        let hit = self.slot.as_ref()?.limiter.lock(retry_after)?;
        self.stage = Stage::Judged;
        self.step(Step::Locked(hit));
        Some(hit)
    }

    /// The answer rejects the payload, which the rules accepted. Says nothing of the slot.
    pub fn payload_refused(&self, code: &str) {
        self.step(Step::PayloadRefused(code.into()));
    }

    /// The answer was read as far as necessary and reports no lock.
    pub fn judged(&mut self, executed: bool) {
        if self.stage == Stage::Answered {
            self.stage = Stage::Judged;
            self.step(Step::Judged { executed });
        }
    }

    fn step(&self, step: Step) {
        if let Some(slot) = &self.slot {
            slot.limiter.note(slot.grant, &step);
            self.context.history.step(slot.number, &step);
        }
        let of = AttemptOf { key: &self.key, caller: &self.request.caller, request_id: &self.request.request_id };
        let observers = self.context.observers.iter().chain(&self.request.observer);
        observers.for_each(|observer| observer.step(&of, &step));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        match self.stage {
            Stage::Held => self.step(Step::Unused),
            Stage::Sent { .. } => self.step(Step::Lost),
            Stage::Answered => self.step(Step::Unread),
            Stage::Judged => {}
        }
    }
}
