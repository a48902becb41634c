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
            return format!("has no database {database}: choose another one in state.redis, such as 0");
        }
        () if says("not allowed from script") => NO_INFO,
        () if says("unknown command") => "the server has no scripts; is it a Sentinel or a proxy?",
        () => "the server cannot be used; state.redis needs Redis or Valkey",
    };
    format!("answers \"{error}\": {advice}")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of INFO that count, of a server that is fit.
    const FIT: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:ab12\r\n# Memory\r\nmaxmemory:0\r\n\
        maxmemory_policy:noeviction\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\
        master_replid:cd34\r\n# Cluster\r\ncluster_enabled:0\r\n";

    #[test]
    fn what_info_says_decides() {
        for (from, to, words) in [
            ("", "", None),
            ("7.0.15", "6.0.0", None),
            ("redis_version:7.0.15", "redis_version:7.2.4\r\nvalkey_version:8.1.0", None),
            ("7.0.15", "5.0.14", Some("version 5.0.14: use Redis 6.0 or later")),
            ("redis_version", "other_version", Some("version unknown")),
            ("run_id:ab12", "run_id:", Some("Azure Managed Redis: use Redis or Valkey itself")),
            ("master_replid:cd34\r\n", "", Some("Redis Enterprise")),
            ("cluster_enabled:0", "cluster_enabled:1", Some("not supported yet: use a server with cluster-enabled no")),
            (
                "role:master",
                "role:slave\r\nmaster_host:10.0.0.2\r\nmaster_port:6379",
                Some("is a replica: set state.redis to its master, 10.0.0.2:6379"),
            ),
            (
                "role:master",
                "role:slave\r\nmaster_host:h\r\nmaster_port:1\r\nslave_read_only:0",
                Some("is a replica, even though it takes writes"),
            ),
            ("role:master", "role:sentinel", Some("role sentinel")),
            ("role:master", "role:active-replica", Some("active-active")),
            ("# Cluster", "crdt_config_version:1", Some("active-active")),
            // Without a limit nothing is evicted.
            ("noeviction", "allkeys-lru", None),
            ("maxmemory:0\r\nmaxmemory_policy:noeviction", "maxmemory:9\r\nmaxmemory_policy:volatile-lru", None),
            (
                "maxmemory:0\r\nmaxmemory_policy:noeviction",
                "maxmemory:9\r\nmaxmemory_policy:allkeys-lfu",
                Some("set maxmemory-policy to noeviction or to one of volatile-*"),
            ),
            ("connected_slaves:0", "connected_slaves:2", Some("has replicas (2)")),
        ] {
            let outcome = judge(&FIT.replace(from, to), Failover::None);
            match words {
                None => assert_eq!(outcome, Ok(()), "{to}"),
                Some(words) => assert!(outcome.as_ref().is_err_and(|error| error.contains(words)), "{to}: {outcome:?}"),
            }
        }
        let replicas = FIT.replace("connected_slaves:0", "connected_slaves:2");
        assert_eq!(judge(&replicas, Failover::Fenced), Ok(()));
    }

    #[test]
    fn errors_say_what_to_change() {
        for (error, words) in [
            ("WRONGPASS invalid username-password pair or user is disabled.", "correct state.redis_user"),
            ("ERR invalid password", "correct state.redis_user"),
            ("NOAUTH Authentication required.", "set state.redis_password"),
            (
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
                "remove state.redis_password",
            ),
            ("NOPERM this user has no permissions to run the 'evalsha' command", "allow it +@all"),
            ("ERR The user executing the script can't run this command or subcommand", "allow it +@all"),
            ("ERR DB index is out of range", "has no database 99"),
            ("ERR SELECT is not allowed in cluster mode", "cluster-enabled no"),
            ("CLUSTERDOWN Hash slot not served", "cluster-enabled no"),
            ("ERR This Redis command is not allowed from script", "Redis Enterprise"),
            ("ERR unknown command 'EVALSHA'", "is it a Sentinel"),
            ("DENIED Redis is running in protected mode", "DENIED Redis is running"),
        ] {
            assert!(advice(error, 99).contains(words), "{error}: {}", advice(error, 99));
        }
    }
}
