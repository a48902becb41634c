//! The events in the life of an attempt: each is applied to the ledger and then passed to the observers.

use std::{fmt::Debug, sync::Arc};

use http::StatusCode;
use tokio::time::Instant;

use super::{Caller, Key};

/// What happened to an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The first byte of the call may leave from now on.
    Sending,
    /// No byte has left after all, because no connection was made. It may be sent again.
    NotSent,
    /// The head of its answer arrived.
    Answered {
        /// When it was sent.
        sent_at: Instant,
        /// The answer's status.
        status: StatusCode,
    },
    /// The answer says that Zoho did not execute the call.
    Refused,
    /// The answer reports a lock.
    Locked(LockHit),
    /// The answer was read and reports no lock.
    Judged {
        /// Whether it says that the call was executed.
        executed: bool,
    },
    /// The answer rejects the payload, which the rules accepted, with this code.
    PayloadRefused(Arc<str>),
    /// It ended before it was sent.
    Unused,
    /// It was sent, and no answer will come: the connection was closed.
    Lost,
    /// Its answer broke off before it could be read.
    Unread,
}

/// A lock that an answer reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockHit {
    /// When it ends.
    pub until: Instant,
    /// Whether it came while the ledger had free slots, so that another client must use the same quota.
    pub external: bool,
}

/// The call of an attempt.
#[derive(Debug)]
pub struct AttemptOf<'a> {
    /// The account and the route.
    pub key: &'a Key,
    /// Who makes the call.
    pub caller: &'a Caller,
    /// The id of the call in logs and answers.
    pub request_id: &'a str,
}

/// Receives each step of an attempt after the ledger has applied it. It must not block.
pub trait Observer: Debug + Send + Sync {
    /// Handles a step of an attempt of this call.
    fn step(&self, attempt: &AttemptOf<'_>, step: &Step);
}

impl Step {
    /// Whether it changes which slots are in use or what is known about a lock.
    pub(super) fn counts(&self) -> bool {
        matches!(self, Self::Unused | Self::Answered { .. } | Self::Lost | Self::Unread | Self::Judged { .. })
    }
}
