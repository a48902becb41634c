//! One call that is about to be sent, and everything that can happen to it.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::time::Instant;

use super::{
    super::{AttemptOf, Key, LimiterContext, LockHit, SlotRequest, Step, window::Grant},
    RouteLimiter,
};
use crate::os::clock;

/// The right to send one call once. Only the ledger makes one, so a call without an attempt cannot be sent.
///
/// Each thing that happens to it is a [`Step`], which is applied to the ledger and then passed to the observers. Dropped
/// before [`sending`](Self::sending) it gives its slot back. Dropped after it without an answer, its slot stays in use
/// until nothing of the call can arrive any more.
#[derive(Debug)]
pub struct Attempt {
    key: Arc<Key>,
    request: SlotRequest,
    context: LimiterContext,
    /// `None`: its route has no threshold.
    slot: Option<Slot>,
    stage: Stage,
}

#[derive(Debug)]
struct Slot {
    limiter: Arc<RouteLimiter>,
    grant: Grant,
    /// Its number in the history of calls.
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
    /// Only the ledger says so.
    pub(in crate::ledger) fn new(key: Key, context: LimiterContext) -> Self {
        Self { key: Arc::new(key), context }
    }

    /// Needs no slot.
    #[must_use]
    pub fn attempt(self, request: SlotRequest) -> Attempt {
        Attempt { key: self.key, request, context: self.context, slot: None, stage: Stage::Held }
    }
}

impl Attempt {
    /// With a slot that was just taken.
    pub(super) fn with_slot(limiter: &Arc<RouteLimiter>, grant: Grant, request: SlotRequest) -> Self {
        Self {
            key: Arc::clone(limiter.key()),
            request,
            context: limiter.context().clone(),
            slot: Some(Slot { limiter: Arc::clone(limiter), grant, number: 0 }),
            stage: Stage::Held,
        }
    }

    /// To be called just before the first byte may leave.
    ///
    /// # Errors
    /// The end of a lock that came since the slot was given: then nothing may be sent.
    pub fn sending(&mut self) -> Result<(), Instant> {
        let held_back = self.slot.as_ref().and_then(|slot| slot.limiter.held_back(slot.grant));
        held_back.map_or(Ok(()), Err)?;
        let at = clock::now();
        if let Some(slot) = &mut self.slot {
            slot.number = self.context.history.sent(&self.key, &self.request, at);
        }
        self.stage = Stage::Sent { at };
        self.step(Step::Sending);
        Ok(())
    }

    /// Resolves when a lock comes that this call may not be sent in, with its end.
    pub async fn held_back(&self) -> Instant {
        match &self.slot {
            Some(slot) => slot.limiter.holding_back(slot.grant).await,
            None => std::future::pending().await,
        }
    }

    /// It is certain that no byte left after all: no connection came about. Does nothing unless it counts as sent.
    pub fn not_sent(&mut self) {
        if let Stage::Sent { .. } = self.stage {
            self.stage = Stage::Held;
            self.step(Step::NotSent);
        }
    }

    /// To be called as soon as the answer's head is there.
    pub fn answered(&mut self, status: StatusCode) {
        if let Stage::Sent { at: sent_at } = self.stage {
            self.stage = Stage::Answered;
            self.step(Step::Answered { sent_at, status });
        }
    }

    /// The answer says that Zoho did not execute the call. More may be known later.
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

    /// The answer was read as far as it has to be, and says nothing of a lock that is kept.
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
