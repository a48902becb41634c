//! The transitions in the life of an attempt, as data: each is applied to the ledger and then passed to observers.

use std::fmt::Debug;

use http::StatusCode;
use tokio::time::Instant;

use super::{Caller, Key};

/// What happened to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its first byte may leave from now on.
    Sending,
    /// No byte of it left after all, because no connection came about. It may be sent again.
    NotSent,
    /// The head of its answer arrived.
    Answered {
        /// When it was sent.
        sent_at: Instant,
        /// The answer's status.
        status: StatusCode,
    },
    /// The answer says that Zoho did not execute it.
    Refused,
    /// The answer says that the route is locked.
    Locked(LockHit),
    /// The answer was read and says nothing of a lock.
    Judged {
        /// Whether it says that the call was executed.
        executed: bool,
    },
    /// It ended before it was sent.
    Unused,
    /// It was sent, and no answer will come: its connection was given up.
    Lost,
    /// Its answer broke off before it could be read.
    Unread,
}

/// A lock that an answer told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockHit {
    /// Its end.
    pub until: Instant,
    /// It came while the ledger had free slots, so another client uses the same quota.
    pub external: bool,
}

/// Which call an attempt belongs to.
#[derive(Debug)]
pub struct AttemptOf<'a> {
    /// The account and the route.
    pub key: &'a Key,
    /// Who makes the call.
    pub caller: &'a Caller,
    /// The name of the call in logs and answers.
    pub request_id: &'a str,
}

/// Learns of each step of an attempt, after the ledger has taken it in. It must not block.
pub trait Observer: Debug + Send + Sync {
    /// This happened to an attempt of this call.
    fn step(&self, attempt: &AttemptOf<'_>, step: &Step);
}

impl Step {
    /// Whether it changes which slots are in use, or what is known of a lock.
    pub(super) fn counts(&self) -> bool {
        matches!(self, Self::Unused | Self::Answered { .. } | Self::Lost | Self::Unread | Self::Judged { .. })
    }
}
