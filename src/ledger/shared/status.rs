//! The shared ledger of an account as operators see it: who is a member, what each holds, what is shut, and until when.

use serde::{Deserialize, Serialize};

/// The shared ledger of one account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SharedStatus {
    /// The account.
    pub account: String,
    /// What this gateway knows by itself.
    pub own: OwnStatus,
    /// The record, if it was read.
    pub record: Option<RecordStatus>,
    /// Why there is no `record`.
    pub record_missing: Option<String>,
}

/// What a gateway knows without the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnStatus {
    /// Its name for operators.
    pub gateway: String,
    /// Its name in the record.
    pub member: String,
    /// The epoch in which it is a member.
    pub epoch: Option<String>,
    /// How long it may send calls without another answer of the server.
    pub lease_left_seconds: f64,
    /// Why it cannot use the server, since its lease has ended.
    pub failure: Option<String>,
    /// Its slots.
    pub holds: Vec<Holding>,
    /// Slots that nobody may use yet, as it knows them.
    pub shut: Vec<Shut>,
}

/// The record that all gateways share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordStatus {
    /// The name of the epoch.
    pub epoch: String,
    /// How old the epoch is at least.
    pub age_seconds: f64,
    /// After how long a silence a member counts as gone.
    pub gone_after_seconds: f64,
    /// All members, live ones first.
    pub members: Vec<MemberStatus>,
    /// Slots that nobody may use yet.
    pub shut: Vec<Shut>,
    /// The locks.
    pub locks: Vec<LockStatus>,
}

/// A member of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its name in the record.
    pub id: String,
    /// Its name for operators.
    pub gateway: String,
    /// Whether it is the gateway that answers.
    pub this: bool,
    /// What the others make of it.
    pub state: MemberState,
    /// The time since its last request.
    pub silent_seconds: f64,
    /// Of a silent one: when it counts as gone, if it stays silent.
    pub gone_in_seconds: Option<f64>,
    /// Its slots.
    pub holds: Vec<Holding>,
    /// The calls that wait there.
    pub waiting: Vec<WaitingStatus>,
}

/// What the others make of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// It speaks.
    Live,
    /// It has not spoken for some beats.
    Silent,
    /// It was silent for so long that it has given up all its slots.
    Gone,
    /// It ended in an orderly way.
    Left,
}

/// The slots of one limit that a member holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holding {
    /// The limit: a route, `daily`, or one of the token requests.
    pub limit: String,
    /// How many it holds, without the sealed ones.
    pub held: u32,
    /// How many of those are in use.
    pub in_use: u32,
    /// How many it holds but must open before it uses them.
    pub sealed: u32,
    /// When the slots of a member that does not speak are free, if it stays silent.
    pub free_in_seconds: Option<f64>,
}

/// Slots that nobody may use, because unknown members may.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shut {
    /// The limit.
    pub limit: String,
    /// How many.
    pub slots: u32,
    /// For how long.
    pub for_seconds: f64,
}

/// A lock of a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LockStatus {
    /// The route.
    pub route: String,
    /// How it came about.
    pub reason: LockReason,
    /// For how long. Zero: one call goes alone first.
    pub for_seconds: f64,
    /// The gateway that may send the call that goes alone.
    pub probe: Option<String>,
}

/// How a lock came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockReason {
    /// Zoho reported it.
    Zoho,
    /// The epoch is young, so an answer that is lost may have told of a lock.
    NewEpoch,
    /// The same, because a member is gone.
    MemberGone,
}

/// Calls of one caller that wait for one route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingStatus {
    /// The route.
    pub route: String,
    /// The caller; empty for calls that wait again after they had a slot.
    pub caller: String,
    /// How many.
    pub calls: u32,
}
