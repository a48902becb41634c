//! Judges whether a server is fit for the shared ledger, by what INFO says inside a script.

use std::time::Duration;

use super::{Failover, Redis, RunError, Script};

/// How long the probe may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The shared ledger reads INFO in its script, so the probe does too.
const SCRIPT: &str = "return redis.call('INFO')";

/// The first version whose scripts replicate what they wrote, and not themselves.
const OLDEST_MAJOR: u32 = 6;

/// Errors that pass by themselves: the server starts, or another script runs.
const PASSING: [&str; 3] = ["LOADING", "BUSY", "MASTERDOWN"];

/// Why a server cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// It does not answer now; trying again may help.
    #[error("{0}")]
    Unreachable(String),
    /// Somebody has to change what the text says.
    #[error("{0}")]
    Unusable(String),
}

pub(super) async fn probe(redis: &Redis) -> Result<(), ProbeError> {
    let settings = &redis.0.settings;
    match redis.evaluate(&Script::new(SCRIPT), None, &[], TIMEOUT).await {
        Ok(info) => judge(&info, settings.failover).map_err(ProbeError::Unusable),
        Err(RunError::Refused(error)) if PASSING.iter().any(|code| error.starts_with(code)) => {
            Err(ProbeError::Unreachable(format!("is not ready: {error}")))
        }
        Err(RunError::Refused(error)) => Err(ProbeError::Unusable(advice(&error, settings.database))),
        Err(error) => Err(ProbeError::Unreachable(error.to_string())),
    }
}

/// What an error of the server means, and what to change.
fn advice(error: &str, database: u32) -> String {
    let says = |words: &str| error.to_lowercase().contains(words);
    let begins = |code: &str| error.starts_with(code);
    let advice = match () {
        () if begins("WRONGPASS") || says("invalid password") => "correct state.redis_user and state.redis_password",
        () if begins("NOAUTH") => "the server expects a password: set state.redis_password",
        () if says("without any password") || says("no password is set") => {
            "the server has no password: remove state.redis_password, or set one in the server"
        }
        () if begins("NOPERM") || says("can't run this command") => {
            "the user may do too little: allow it +@all on the keys and channels of state.namespace"
        }
        () if begins("MOVED") || begins("CLUSTERDOWN") || says("not allowed in cluster mode") => CLUSTER,
        () if says("db index is out of range") => {
            return format!("{error}: there is no database {database}; choose another one in state.redis, such as 0");
        }
        () if says("not allowed from script") => NO_INFO,
        () if says("unknown command") => "the server has no scripts; is it a Sentinel or a proxy?",
        () => return format!("refuses a script: {error}"),
    };
    format!("{error}: {advice}")
}

const CLUSTER: &str = "this is a node of a cluster, which is not supported yet: use a server with cluster-enabled no";

const NO_INFO: &str = "scripts may not use INFO here, as in Redis Enterprise, Redis Cloud and Azure Managed Redis: use \
                       Redis or Valkey itself";

/// What makes a server unfit, and what to change.
fn judge(info: &str, failover: Failover) -> Result<(), String> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let is = |name: &str, value: &str| field(name) == Some(value);
    let version = field("valkey_version").or(field("redis_version")).unwrap_or("unknown");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_MAJOR) {
        return Err(format!("has version {version}: use Redis {OLDEST_MAJOR}.0 or later, or Valkey"));
    }
    if ["run_id", "master_replid"].iter().any(|name| field(name).is_none_or(str::is_empty)) {
        return Err(format!("does not state run_id and master_replid in INFO: {NO_INFO}"));
    }
    if is("cluster_enabled", "1") {
        return Err(CLUSTER.to_owned());
    }
    let role = field("role").unwrap_or("unknown");
    match (role, field("master_host"), field("master_port")) {
        ("master", ..) => {}
        ("slave", Some(host), Some(port)) => {
            let writable = if is("slave_read_only", "0") { ", even though it takes writes" } else { "" };
            return Err(format!("is a replica{writable}: set state.redis to its master, {host}:{port}"));
        }
        ("active-replica", ..) => return Err(ACTIVE_ACTIVE.to_owned()),
        _ => return Err(format!("has the role {role}: set state.redis to a master")),
    }
    if info.lines().any(|line| line.starts_with("crdt_")) {
        return Err(ACTIVE_ACTIVE.to_owned());
    }
    let policy = field("maxmemory_policy").unwrap_or_default();
    if policy.starts_with("allkeys-") && !is("maxmemory", "0") {
        return Err(format!(
            "may evict the ledger's keys (maxmemory-policy {policy}): set maxmemory-policy to noeviction or to one of \
             volatile-*"
        ));
    }
    let replicas = field("connected_slaves").unwrap_or("0");
    if failover == Failover::None && replicas != "0" {
        return Err(format!(
            "has replicas ({replicas}): one that takes over may lack the last writes, so calls would exceed the \
             threshold. Use a server without replicas. If a replica takes over only when it has all writes and the old \
             master is stopped, set state.failover to \"fenced\""
        ));
    }
    Ok(())
}

const ACTIVE_ACTIVE: &str = "is one of several masters (active-active), whose writes may contradict each other: use a \
                             server with one master";
