//! The record of an account as `view.lua` returns it, and what that means for operators.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::status::{Holding, LockReason, LockStatus, MemberState, MemberStatus, RecordStatus, Shut, WaitingStatus};
use crate::redis::{Redis, Script};

/// How many records are read at a time, over all requests of operators: calls go first.
const READERS: usize = 4;

/// The longest reading. The reader's deadline is usually earlier.
const LONGEST: Duration = Duration::from_secs(5);

/// How many beats a member may be silent and still counts as live, as in `exchange.lua`.
const LIVE_BEATS: u32 = 3;

/// Reads records. It has a connection of its own, so that a reader who gives up does not disturb the calls.
#[derive(Debug)]
pub(super) struct Reader {
    redis: Redis,
    script: Script,
    places: Semaphore,
}

/// What `view.lua` returns.
#[derive(Debug, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
enum View {
    Ok(Record),
    None,
    OtherLife,
}

#[derive(Debug, Deserialize)]
struct Record {
    epoch: String,
    age: u64,
    gone_after: u64,
    members: BTreeMap<String, Member>,
    shut: BTreeMap<String, u32>,
    locks: BTreeMap<String, Lock>,
}

#[derive(Debug, Deserialize)]
struct Member {
    gateway: Option<String>,
    gone: bool,
    /// Since its last request, as the other members have watched.
    silent: u64,
    /// The same by the server's clock, which may step.
    heard: u64,
    limits: BTreeMap<String, Entry>,
    waiting: BTreeMap<String, BTreeMap<String, u32>>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    held: u32,
    sealed: u32,
    idle: u32,
    window: u64,
    /// Of a member that has left: when its last use ends after that.
    left: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Lock {
    name: String,
    rest: u64,
    probe: Option<String>,
}

impl Reader {
    pub(super) fn new(redis: Redis) -> Self {
        Self { redis, script: Script::new(include_str!("view.lua")), places: Semaphore::new(READERS) }
    }

    /// The record under this key for the member `own`, or why there is none. `beat` is how often members speak.
    pub(super) async fn read(
        &self,
        key: &str,
        own: &str,
        beat: Duration,
        deadline: Instant,
    ) -> Result<RecordStatus, String> {
        let reading = async {
            let _place = self.places.acquire().await;
            self.redis.run(&self.script, key, &[], LONGEST).await
        };
        let text = match timeout_at(deadline, reading).await {
            Ok(text) => text.map_err(|error| format!("Redis {error}"))?,
            Err(_) => return Err("Redis has not answered yet".to_owned()),
        };
        match serde_json::from_str(&text) {
            Ok(View::Ok(record)) => Ok(record.status(own, LIVE_BEATS * beat)),
            Ok(View::None) => Err("Redis has no record of this account".to_owned()),
            Ok(View::OtherLife) => Err("the record is from before a restart of Redis, so it is not used".to_owned()),
            Err(error) => Err(format!("Redis answers something else: {error}")),
        }
    }
}

impl Record {
    /// What operators see. A member is live for as long as `live` after its last request.
    fn status(&self, own: &str, live: Duration) -> RecordStatus {
        let mut members: Vec<_> = (self.members.iter())
            .map(|(id, member)| MemberStatus { this: id == own, ..self.member(id, member, live) })
            .collect();
        members.sort_by(|one, other| (one.state, &one.gateway, &one.id).cmp(&(other.state, &other.gateway, &other.id)));
        let shut = |(limit, slots): (&String, &u32)| Shut {
            limit: limit.clone(),
            slots: *slots,
            for_seconds: seconds(self.settled(limit).saturating_sub(self.age)),
        };
        RecordStatus {
            epoch: self.epoch.clone(),
            age_seconds: seconds(self.age),
            gone_after_seconds: seconds(self.gone_after),
            members,
            shut: self.shut.iter().map(shut).collect(),
            locks: self.locks.iter().map(|(route, lock)| self.lock(route, lock)).collect(),
        }
    }

    fn member(&self, id: &str, member: &Member, live: Duration) -> MemberStatus {
        let left = member.silent < self.gone_after || member.limits.values().any(|entry| entry.left.is_some());
        let state = match member.gone {
            true if left => MemberState::Left,
            true => MemberState::Gone,
            false if Duration::from_millis(member.heard) > live => MemberState::Silent,
            false => MemberState::Live,
        };
        let holding = |(limit, entry): (&String, &Entry)| Holding {
            limit: limit.clone(),
            held: entry.held,
            in_use: entry.held.saturating_sub(entry.idle),
            sealed: entry.sealed,
            free_in_seconds: (state != MemberState::Live)
                .then(|| seconds(self.free_after(limit, entry).saturating_sub(member.silent))),
        };
        let waiting = |(route, callers): (&String, &BTreeMap<String, u32>)| {
            let waiting = |(caller, calls): (&String, &u32)| WaitingStatus {
                route: route.clone(),
                caller: caller.clone(),
                calls: *calls,
            };
            callers.iter().map(waiting).collect::<Vec<_>>()
        };
        MemberStatus {
            id: id.to_owned(),
            gateway: self.name(id),
            this: false,
            state,
            silent_seconds: seconds(member.heard),
            gone_in_seconds: (state == MemberState::Silent)
                .then(|| seconds(self.gone_after.saturating_sub(member.silent))),
            holds: member.limits.iter().filter(|(_, entry)| entry.held + entry.sealed > 0).map(holding).collect(),
            waiting: member.waiting.iter().flat_map(waiting).collect(),
        }
    }

    fn lock(&self, route: &str, lock: &Lock) -> LockStatus {
        let reason = match lock.name.split_once('-') {
            Some(("epoch", _)) => LockReason::NewEpoch,
            Some(("gone", _)) => LockReason::MemberGone,
            _ => LockReason::Zoho,
        };
        let probe = lock.probe.as_ref().map(|id| self.name(id));
        LockStatus { route: route.to_owned(), reason, for_seconds: seconds(lock.rest), probe }
    }

    /// A member's name for operators.
    fn name(&self, id: &str) -> String {
        self.members.get(id).and_then(|member| member.gateway.clone()).unwrap_or_else(|| id.to_owned())
    }

    /// How long after a member's last request its slots of a limit are free, in milliseconds.
    fn free_after(&self, limit: &str, entry: &Entry) -> u64 {
        entry.left.map_or_else(|| self.settled(limit), with_margin)
    }

    /// How long after a member's last request no slot of a limit is in use, as in `exchange.lua`.
    fn settled(&self, limit: &str) -> u64 {
        let windows = self.members.values().filter_map(|member| Some(member.limits.get(limit)?.window));
        self.gone_after.saturating_add(with_margin(windows.max().unwrap_or_default()))
    }
}

/// Clocks agree within a percent.
fn with_margin(span: u64) -> u64 {
    span.saturating_add(span.div_ceil(100))
}

fn seconds(span: u64) -> f64 {
    Duration::from_millis(span).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entry(held: u32, window: u64) -> Value {
        json!({ "held": held, "sealed": 0, "idle": 1, "window": window })
    }

    fn member(name: &str, gone: bool, silent: u64, limits: &Value) -> Value {
        json!({ "gateway": name, "gone": gone, "silent": silent, "heard": silent, "limits": limits, "waiting": {} })
    }

    /// A record as `view.lua` returns it, for the member `a`. Its beat is a second.
    fn seen(members: &Value, locks: &Value) -> RecordStatus {
        let view = json!({
            "status": "ok", "epoch": "e", "age": 50_000, "gone_after": 75_000, "members": members,
            "shut": { "people.a": 7 }, "locks": locks,
        });
        match serde_json::from_value(view).expect("a view") {
            View::Ok(record) => record.status("a", Duration::from_secs(3)),
            other => panic!("{other:?}"),
        }
    }

    fn states(record: &RecordStatus) -> Vec<(&str, MemberState)> {
        record.members.iter().map(|member| (member.gateway.as_str(), member.state)).collect()
    }

    #[test]
    fn members_are_live_silent_gone_or_left() {
        let left = json!({ "people.a": { "held": 2, "sealed": 0, "idle": 0, "window": 60_000, "left": 30_000 } });
        let record = seen(
            &json!({
                "a": member("one", false, 3_000, &json!({ "people.a": entry(2, 60_000) })),
                "b": member("two", false, 3_001, &json!({ "people.a": entry(2, 60_000) })),
                "c": member("three", true, 75_000, &json!({ "people.a": entry(2, 60_000) })),
                "d": member("four", true, 10_000, &left),
                "e": member("five", true, 80_000, &left),
                "f": member("six", true, 10_000, &json!({})),
            }),
            &json!({}),
        );
        let expected = [
            ("one", MemberState::Live),
            ("two", MemberState::Silent),
            ("three", MemberState::Gone),
            ("five", MemberState::Left),
            ("four", MemberState::Left),
            ("six", MemberState::Left),
        ];
        assert_eq!(states(&record), expected);
        assert!(record.members[0].this && record.members[1..].iter().all(|member| !member.this));
        let free = |member: usize| record.members[member].holds[0].free_in_seconds;
        // The window of a minute and one percent comes after the silence.
        assert_eq!((free(0), free(1), free(2)), (None, Some(132.599), Some(60.6)));
        assert_eq!((free(4), free(3)), (Some(20.3), Some(0.0)));
        assert_eq!(record.members[1].gone_in_seconds, Some(71.999));
        assert_eq!(record.members[2].gone_in_seconds, None);
    }

    #[test]
    fn the_longest_window_of_any_member_decides() {
        let record = seen(
            &json!({
                "a": member("one", false, 0, &json!({ "people.a": entry(2, 60_000) })),
                "b": member("two", false, 5_000, &json!({ "people.a": entry(0, 600_000) })),
                "c": member("three", false, 5_000, &json!({ "people.a": entry(3, 60_000) })),
            }),
            &json!({}),
        );
        let shut = Shut { limit: "people.a".to_owned(), slots: 7, for_seconds: 75.0 + 606.0 - 50.0 };
        assert_eq!(record.shut, [shut]);
        assert_eq!(record.members[1].holds[0].free_in_seconds, Some(75.0 + 606.0 - 5.0));
        assert_eq!((record.members[1].holds[0].held, record.members[1].holds[0].in_use), (3, 2));
        assert_eq!(record.members[2].holds, [], "it holds nothing");
    }

    #[test]
    fn a_lock_says_how_it_came_about_and_who_goes_first() {
        let record = seen(
            &json!({ "a": member("one", false, 0, &json!({})) }),
            &json!({
                "people.a": { "name": "a-1", "rest": 4_000 },
                "people.b": { "name": "epoch-e", "rest": 0, "probe": "a" },
                "people.c": { "name": "gone-b", "rest": 0, "probe": "b" },
            }),
        );
        let locks: Vec<_> =
            record.locks.iter().map(|lock| (lock.reason, lock.for_seconds, lock.probe.as_deref())).collect();
        let expected = [
            (LockReason::Zoho, 4.0, None),
            (LockReason::NewEpoch, 0.0, Some("one")),
            (LockReason::MemberGone, 0.0, Some("b")),
        ];
        assert_eq!(locks, expected);
    }
}
