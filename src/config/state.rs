//! `[state]`: the folder of the state store, and the server through which gateways share one ledger.
//!
//! No message repeats the server's URL: it may contain a password.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    SharedState, State, WhenEmpty,
    credential::{self, REDIS, Surroundings},
    problem::Origin,
    reader::{Section, some_text},
    sections,
};
use crate::{
    redis::{Failover, ServerUrl, Settings, Topology},
    secret::{Secret, credential::Credential},
    upstream,
};

/// The variable in which systemd names its StateDirectory=.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// The word for no folder.
const NO_FOLDER: &str = "none";

/// Every key that has no effect without a server.
const OF_REDIS: [&str; 8] = [
    "redis_user",
    "redis_password",
    "redis_sentinel_password",
    "redis_ca_file",
    "namespace",
    "lease",
    "replicas",
    "failover",
];

/// Gateways of one organisation share a ledger unless they are told otherwise.
const NAMESPACE: &str = "zoho-gateway";
const LONGEST_NAMESPACE: usize = 64;

/// Long enough for a failing connection to be opened again a few times, and short enough that a gateway that lost Redis
/// soon learns of locks.
const LEASE: Duration = Duration::from_secs(5);

/// Reads `[state]`.
pub(super) fn read(section: &mut Section<'_>, around: &Surroundings<'_>) -> State {
    let has_redis = section.whereabouts(REDIS).is_some();
    let is_set = section.whereabouts("dir").is_some();
    let dir = section.path("dir", |path| match path {
        "" => Err("expected the path of a folder"),
        NO_FOLDER if has_redis => Ok(None),
        NO_FOLDER => Err("\"none\" is for state.redis: without it, a restarted gateway would not know what was sent"),
        path => Ok(Some(around.folder.join(path))),
    });
    let dir = if is_set { None } else { state_directory(around) }.or(dir.and_then(|found| found.value));
    // An emptied Redis must not look like a first start, because other gateways may use the login.
    let when_empty = if has_redis { WhenEmpty::AssumeLost } else { WhenEmpty::Fresh };
    State { dir, when_empty: section.given("when_empty").unwrap_or(when_empty), redis: redis(section, around) }
}

/// The supervisor's folder for state: systemd's StateDirectory=, the container image. `state.dir` has priority.
fn state_directory(around: &Surroundings<'_>) -> Option<PathBuf> {
    let given = around.variables.value(STATE_DIRECTORY)?.to_str()?;
    // Several folders are separated by colons.
    given.split(':').next().map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Reads the server; `None` without `state.redis` and if it has a mistake.
fn redis(section: &mut Section<'_>, around: &Surroundings<'_>) -> Option<SharedState> {
    let Some(origin) = section.whereabouts(REDIS) else {
        refuse_the_rest(section);
        return None;
    };
    let url = credential::read(section, REDIS, around).and_then(|text| url(section, &origin, &text));
    not_twice(section, "redis_user", url.as_ref().is_some_and(|url| url.user.is_some()));
    not_twice(section, "redis_password", url.as_ref().is_some_and(|url| url.password.is_some()));
    let is_tls = url.as_ref().is_none_or(|url| url.topology.is_tls());
    if let Some(origin) = section.whereabouts("redis_ca_file").filter(|_| !is_tls) {
        section.wrong("redis_ca_file", &origin, "is for TLS: write rediss:// in state.redis");
    }
    let user = section.parsed("redis_user", some_text).map(|found| found.value);
    let password = optional(section, "redis_password", around);
    let is_sentinel = url.as_ref().is_none_or(|url| matches!(url.topology, Topology::Sentinel { .. }));
    if let Some(origin) = section.whereabouts("redis_sentinel_password").filter(|_| !is_sentinel) {
        section.wrong("redis_sentinel_password", &origin, "is for Sentinels: write redis-sentinel:// in state.redis");
    }
    let sentinel_password = optional(section, "redis_sentinel_password", around);
    let roots = sections::extra_roots(section, "redis_ca_file", around);
    let namespace = section.parsed("namespace", namespace).map(|found| found.value);
    let lease = section.given("lease").unwrap_or(LEASE);
    let replicas = section.given("replicas").unwrap_or(0);
    let fenced = section.whereabouts("failover");
    let failover = section.given("failover").unwrap_or(Failover::None);
    if let Some(origin) = fenced.filter(|_| failover == Failover::Fenced && replicas > 0) {
        section.wrong(
            "failover",
            &origin,
            "\"fenced\" makes a majority of state.replicas needless; leave one of the two out",
        );
    }
    if matches!(url, Some(ServerUrl { topology: Topology::Sentinel { .. }, .. }))
        && (replicas, failover) == (0, Failover::None)
    {
        section.wrong(
            REDIS,
            &origin,
            "with Sentinel a replica takes over that may lack the last writes: set state.replicas to the number of the \
             master's replicas; or set state.failover to \"fenced\" if they lack none",
        );
    }
    let ServerUrl { topology, user: user_of_url, password: password_of_url, database } = url?;
    let settings = Settings {
        topology,
        tls: Arc::new(upstream::tls(&roots)),
        user: user.or(user_of_url),
        password: password.or_else(|| of_url(section, &origin, password_of_url)),
        sentinel_password,
        database,
        namespace: namespace.unwrap_or_else(|| NAMESPACE.to_owned()),
        failover,
        replicas,
    };
    Some(SharedState { settings, lease })
}

/// The credential in this key, if it is set.
fn optional(section: &mut Section<'_>, key: &'static str, around: &Surroundings<'_>) -> Option<Credential> {
    if section.whereabouts(key).is_some() { credential::read(section, key, around) } else { None }
}

fn refuse_the_rest(section: &mut Section<'_>) {
    for key in OF_REDIS {
        if let Some(origin) = section.whereabouts(key) {
            section.wrong(key, &origin, "has no effect without state.redis");
            section.take(key);
        }
    }
}

fn url(section: &Section<'_>, origin: &Origin, text: &Credential) -> Option<ServerUrl> {
    let url = ServerUrl::parse(text.current().expose());
    url.map_err(|error| section.wrong(REDIS, origin, error.to_string())).ok()
}

/// Refuses a key that repeats a part of the URL.
fn not_twice(section: &Section<'_>, key: &str, is_in_url: bool) {
    if let Some(origin) = section.whereabouts(key).filter(|_| is_in_url) {
        section.wrong(key, &origin, "the URL of state.redis has one too; leave one of the two out");
    }
}

/// The password in the URL.
fn of_url(section: &Section<'_>, origin: &Origin, password: Option<Secret>) -> Option<Credential> {
    let password = Credential::written(password?);
    password.map_err(|error| section.wrong(REDIS, origin, format!("its password {error}"))).ok()
}

fn namespace(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    match (1..=LONGEST_NAMESPACE).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected 1 to {LONGEST_NAMESPACE} letters, digits and . _ - :")),
    }
}
