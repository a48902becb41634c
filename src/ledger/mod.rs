//! The ledger: at most `requests` calls of a route arrive at Zoho in any `window`, and none during a lock.
//!
//! Zoho counts calls when they *arrive*; the gateway only knows when it sent and when the answer came. So a slot is in
//! use from just before the first byte is written until `window` after the answer's head arrived, and a call may be
//! sent only while fewer than `requests` slots are in use. docs/threshold.md has the proof.
//!
//! It has two parts. The upper part belongs to this process: [`RouteLimiter`] puts a fair queue in front of the slots
//! and hands out [`Attempt`]s. The lower part, behind the port [`Slots`], counts slots and records them:
//! [`RecordedBackend`] does so with [`Window`]s in memory, which get the time from outside, and a copy of them in the
//! [`store`]. Each event of an attempt is a [`Step`], which is applied to the windows and then passed to the
//! [`Observer`]s.
//!
//! ```
//! # use std::{num::NonZeroU32, time::Duration};
//! # use zoho_gateway::{ledger::{Denied, Step, Window}, os::clock, zoho::catalogue::{Pace, Threshold}};
//! let minute = Duration::from_secs(60);
//! let threshold = Threshold { requests: NonZeroU32::MIN, window: minute, lock: 5 * minute, pace: Pace::Burst };
//! let now = clock::now();
//! let mut window = Window::new(threshold, now);
//!
//! let grant = window.take(now)?;
//! assert_eq!(window.take(now).unwrap_err(), Denied::Unanswered);
//!
//! // The answer comes a second later, and the slot is free again one window after that.
//! let answer = now + Duration::from_secs(1);
//! window.apply(grant, &Step::Answered { sent_at: now, status: http::StatusCode::OK }, answer);
//! assert_eq!(window.take(answer).unwrap_err(), Denied::Until(answer + minute));
//! assert!(window.take(answer + minute).is_ok());
//! # Ok::<(), Denied>(())
//! ```

mod call_history;
mod caller;
mod context;
mod forecast;
pub mod gcra;
mod limiter;
#[cfg(test)]
mod limiter_tests;
mod limiters;
#[cfg(all(test, feature = "model"))]
mod model;
mod occupancy;
mod pacer;
mod pauses;
mod queue;
mod queue_capacity;
mod record;
mod recorded;
mod selector;
mod shared;
#[cfg(test)]
mod simulation;
mod slot_request;
mod slots;
mod step;
pub mod store;
mod sync;
#[cfg(test)]
mod tests;
mod waiter_signal;
mod window;

pub use self::{
    call_history::{CallHistory, Incident, LockCause, PostMortem, SentCall},
    caller::{Caller, Terms},
    context::{LimiterContext, Reserves},
    limiter::{
        Attempt, CallerBookings, CallerQueue, LastLock, LimiterStatus, Refused, RouteLimiter, Unlimited, WaitReason,
        WaitingWithoutPlace,
    },
    limiters::{Limiters, RouteLimit, Rules},
    pauses::{Pause, Pauses},
    queue::Urgency,
    queue_capacity::{Limit, Limits, QueueCapacity},
    record::{KeptToken, Key, Row, StartState},
    recorded::{Journal, RecordedBackend, Recovered},
    selector::CallSelector,
    shared::{
        FROZEN, Holding, LockReason, LockStatus, MemberState, MemberStatus, OwnStatus, ProcessName, RecordStatus,
        SharedBackend, SharedStatus, SharedTiming, Shut, WaitingStatus,
    },
    slot_request::{Arrival, Identity, SlotRequest, Waited},
    slots::{
        AfterLoss, Allowance, Backend, DAY, Health, LimitSpec, Outlook, Recorded, SharedRecords, Slots, Unrecorded,
        WaitingCalls, Wish,
    },
    step::{AttemptOf, LockHit, Observer, Step},
    window::{Denied, Grant, NO_ANSWER_GRACE, Quota, Window},
};
