//! The requests of a member to the shared record, and the replies. `exchange.lua` reads and writes them.
//!
//! All times are spans in milliseconds, because no two clocks are compared.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::ledger::Wish;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Operation {
    /// Which life and epoch there is.
    Look,
    /// A new epoch, if there is none.
    Begin,
    /// To become a member, with claims from memory.
    Enter,
    /// To give slots back and to ask for some.
    Exchange,
    /// To leave for good.
    Leave,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Request {
    pub(super) op: Operation,
    pub(super) life: String,
    pub(super) epoch: String,
    pub(super) member: String,
    /// The gateway's name for operators, said once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gateway: Option<String>,
    /// Greater than that of each request before.
    pub(super) number: u64,
    /// An epoch that a new one replaces, when it begins one.
    pub(super) replaces: String,
    /// A random part for the name of a new epoch.
    pub(super) candidate: String,
    /// Whether an empty record is a first start.
    pub(super) fresh: bool,
    /// How long a silent member keeps its place.
    pub(super) gone_after: u64,
    pub(super) beat: u64,
    /// How much later bytes of a closed connection may still arrive.
    pub(super) grace: u64,
    /// The processes that are certainly dead, by the first part of their names. Only when it enters.
    pub(super) dead: Vec<String>,
    /// Slots of windows that are longer than this are sealed when they are dealt out.
    pub(super) long: u64,
    /// Whether free slots that nobody waits for may be dealt out to this member.
    pub(super) deal: bool,
    /// How old the epoch is at least.
    pub(super) age: u64,
    /// How long the other members have been silent at least.
    pub(super) silences: BTreeMap<String, Silence>,
    /// Of each limit with news.
    pub(super) limits: BTreeMap<String, Held>,
    /// By route, each lock that the member knows.
    pub(super) locks: BTreeMap<String, LockReport>,
    /// By route, who waits.
    pub(super) demand: BTreeMap<String, Demand>,
}

/// How long a member has not been heard since its request of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Silence {
    pub(super) number: u64,
    pub(super) silent: u64,
}

/// What a member holds of one limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Held {
    pub(super) requests: u32,
    pub(super) window: u64,
    /// The most that it may hold after this request, before what it is granted.
    pub(super) held: u32,
    /// The same for sealed slots, which it must open before it uses them.
    pub(super) sealed: u32,
    /// How many of the held ones are not in use.
    pub(super) idle: u32,
    /// How many slots are free at once after a loss.
    pub(super) spare: u32,
    /// Whether one call goes alone after a loss.
    pub(super) alone: bool,
    /// When slots in use come free: after which time how many. Of a member that leaves, all of them; otherwise the
    /// first ones, for forecasts.
    pub(super) ends: Vec<(u64, u32)>,
}

/// What a member knows about a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LockReport {
    pub(super) name: String,
    pub(super) rest: u64,
    /// Whether it wants to send, or is sending, the call that goes alone after the lock.
    pub(super) probe: bool,
    /// That call was executed.
    pub(super) over: bool,
    /// The record may not know it yet.
    pub(super) met: bool,
}

/// Who waits for slots of these limits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Demand {
    pub(super) limits: Vec<String>,
    pub(super) callers: BTreeMap<String, CallerDemand>,
}

/// What one caller waits for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct CallerDemand {
    #[serde(flatten)]
    pub(super) wish: Wish,
    /// Sets of limits that its calls count against besides those of all calls: each call against the first set that has
    /// slots.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) own: Vec<Vec<String>>,
}

impl Demand {
    /// Whether any call waits.
    pub(super) fn waits(&self) -> bool {
        self.callers.values().any(|caller| caller.wish.waiting > 0)
    }

    /// The limits for which calls wait.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &String> {
        let waiting = self.callers.values().filter(|caller| caller.wish.waiting > 0);
        let own = waiting.flat_map(|caller| caller.own.iter().flatten());
        self.limits.iter().filter(|_| self.waits()).chain(own)
    }
}

/// Whether the checks passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Status {
    Ok,
    NotMaster,
    OtherLife,
    NoEpoch,
    OtherEpoch,
    OtherTiming,
    Gone,
    Stale,
}

/// One reply. After a failed check it has no more than the first four members.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Reply {
    pub(super) status: Status,
    pub(super) number: u64,
    pub(super) life: String,
    /// The current epoch, if there is one in this life.
    pub(super) epoch: Option<String>,
    #[serde(default)]
    pub(super) age: u64,
    #[serde(default)]
    pub(super) limits: BTreeMap<String, Granted>,
    #[serde(default)]
    pub(super) locks: BTreeMap<String, LockView>,
    /// The limits that other members wait for.
    #[serde(default)]
    pub(super) wanted: BTreeMap<String, bool>,
    #[serde(default)]
    pub(super) silences: BTreeMap<String, Silence>,
}

/// What a member holds of one limit after its request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Granted {
    pub(super) held: u32,
    pub(super) sealed: u32,
    /// The smallest number that any member says.
    pub(super) requests: u32,
    /// The longest window that any member says.
    pub(super) window: u64,
    /// How many slots are shut until the epoch is old enough.
    pub(super) shut: u32,
    /// How many of the idle ones are for calls that wait at this member.
    #[serde(default)]
    pub(super) reserved: u32,
    /// How many calls wait on other members.
    #[serde(default)]
    pub(super) waiting: u32,
    /// When slots in use on other members come free.
    #[serde(default)]
    pub(super) ends: Vec<(u64, u32)>,
}

/// A lock in the record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct LockView {
    pub(super) name: String,
    pub(super) rest: u64,
    /// Whether this member may send the call that goes alone.
    pub(super) probe: bool,
}

/// What the script publishes for all members.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Message {
    /// The key of the record.
    pub(super) record: String,
    /// Its epoch.
    pub(super) epoch: String,
    /// A route whose lock has changed.
    pub(super) lock: Option<String>,
    /// The members whose turn it is.
    #[serde(default)]
    pub(super) called: BTreeMap<String, bool>,
    /// The limits whose idle slots others wait for.
    #[serde(default)]
    pub(super) wanted: BTreeMap<String, bool>,
}

/// A span in milliseconds, rounded down: for spans that may be said too short, but not too long.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A span in milliseconds, rounded up: for spans that may be said too long, but not too short.
pub(super) fn millis_up(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
