//! The code that the tests share.

mod browser;
mod cluster;
mod collector;
mod gateway;
mod http;
mod judge;
mod link;
mod mute;
mod problem;
mod process;
mod proxy;
mod random;
mod raw;
mod redis;
mod sandbox;
mod schema;
mod sentinels;
mod slot;
mod tls;
mod tools;
mod upstream;

use std::{fmt::Display, time::Duration};

pub(crate) use browser::Browser;
pub(crate) use cluster::Cluster;
pub(crate) use collector::{Collector, SentSpan};
pub(crate) use gateway::{CLIENT_SECRET, Gateway, REFRESH_TOKEN, Setup};
pub(crate) use http::{Answer, Call, Connection, all, call, delete, get, put};
pub(crate) use judge::{Judge, Rule};
pub(crate) use link::Link;
pub(crate) use mute::Mute;
pub(crate) use process::{Ended, Process};
pub(crate) use proxy::{Proxy, Tunnels};
pub(crate) use random::Random;
pub(crate) use raw::{all_that_comes, exchange, exchange_half};
pub(crate) use redis::{RedisServer, free_port, replicas_of, settings as redis_settings};
pub(crate) use sandbox::{Sandbox, Seen};
pub(crate) use schema::faults_of_status;
pub(crate) use sentinels::Sentinels;
pub(crate) use slot::one_slot_taken;
pub(crate) use tls::{Authority, Issued, Terminator};
pub(crate) use tools::{curl, libfaketime, node, prlimit, python, shell, unshare_time};
pub(crate) use upstream::{Reply, Upstream};

/// The path of the pages' sample calls, by the gateway.
pub(crate) const COURSE: &str = "/people/api/v1/courses/588882000000289003/share";
/// The calendar of the sample calls.
pub(crate) const CALENDAR: &str = "/calendar/api/v1/calendars/1683be4ab6c74d2ab02e6440a0b34d4a/share";
/// The form of the sample that shares a course.
pub(crate) const SHARE: &str = "erecnosList=%5B588882000000212025%5D";
/// A documented `shareData`, as `requests` encodes it.
pub(crate) const SHARE_DATA: &str =
    "?shareData=%7B%22mailid%22:%22user@domain.com%22,%22privilege%22:%22view%22,%22type%22:%22user%22%7D";

/// The hashes of the keys `one` and `three` for `[callers]`.
pub(crate) const HASH_OF_ONE: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
pub(crate) const HASH_OF_THREE: &str = "8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f";

/// More time than any step takes on a busy machine; a longer wait is in vain.
const PATIENCE: Duration = Duration::from_secs(60);

/// A duration in milliseconds, with a short name.
pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Checks a condition again and again, and resolves when it is true.
pub(crate) async fn until(what: impl Display, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(ms(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
