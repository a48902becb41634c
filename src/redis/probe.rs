//! Judges whether a server is fit for the shared ledger, by what INFO says inside a script, and whether the user may do
//! what the gateway's scripts do.

use std::time::Duration;

use super::{
    Failover, Redis, RunError, Script, Settings, Topology,
    discovery::{OF_SENTINEL, UNKNOWN_MASTER},
    script::Run,
    too_many,
};

/// How long the probe may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the scripts of the gateway do, on a key and a channel of the namespace. Only a master takes writes.
const SCRIPT: &str = r"
    local info = redis.call('INFO')
    if string.find(info, '\nrole:master', 1, true) then
      redis.call('TIME')
      redis.call('GET', KEYS[1])
      redis.call('SET', KEYS[1], '', 'PX', 1000)
      redis.call('PUBLISH', ARGV[1], '')
      -- Of the jobs.
      local hash, sorted = KEYS[1] .. ':hash', KEYS[1] .. ':sorted'
      redis.call('HSET', hash, 'field', '')
      redis.call('HGET', hash, 'field')
      redis.call('HSTRLEN', hash, 'field')
      redis.call('HDEL', hash, 'field')
      redis.call('ZADD', sorted, 0, 'member')
      redis.call('ZSCORE', sorted, 'member')
      redis.call('ZRANGE', sorted, 0, 0)
      redis.call('ZRANGEBYSCORE', sorted, 0, 0)
      redis.call('ZRANGEBYLEX', sorted, '-', '+')
      redis.call('ZREM', sorted, 'member')
    end
    return info";

/// Older versions get no security fixes, and the shared ledger is not tested with them.
const OLDEST_MAJOR: u32 = 6;

/// Errors that pass by themselves: the server starts, or another script runs.
const PASSING: [&str; 5] = ["LOADING", "BUSY", "MASTERDOWN", "OOM", "NOREPLICAS"];

const NO_DATABASE: &str = "DB index is out of range";

/// Signs in errors, and what to change.
const ADVICE: &[(&[&str], &str)] = &[
    (&["WRONGPASS", "invalid password"], "correct state.redis_user and state.redis_password"),
    (&["NOAUTH"], "the server expects a password: set state.redis_password"),
    (
        &["without any password", "no password is set"],
        "the server has no password: remove state.redis_password, or set one in the server",
    ),
    (
        &["NOPERM", "The user executing the script can't", "ACL failure in script"],
        "the user may do too little: allow it on the keys and channels of state.namespace what docs/operating.md lists",
    ),
    (&["MOVED", "CLUSTERDOWN", "not allowed in cluster mode", "a non local key"], CLUSTER),
    (&["not allowed from script"], NO_INFO),
    (&["unknown command"], "the server has no scripts; is it a Sentinel or a proxy?"),
];

/// The same in errors of Sentinels.
const ADVICE_ON_SENTINELS: &[(&[&str], &str)] = &[
    (&["WRONGPASS", "invalid password"], "correct state.redis_sentinel_password"),
    (&["NOAUTH"], "set state.redis_sentinel_password"),
    (
        &["without any password", "no password is set"],
        "the Sentinels have no password: remove state.redis_sentinel_password",
    ),
    (&["NOPERM"], "allow the default user there +sentinel|get-master-addr-by-name"),
    (&["unknown command"], "it is no Sentinel; state.redis needs their addresses, usually with the port 26379"),
    (&[UNKNOWN_MASTER], "correct the name in state.redis, or let the Sentinels watch that master"),
];

const CLUSTER: &str = "for a cluster write redis-cluster:// or rediss-cluster:// in state.redis";

const NO_INFO: &str = "scripts may not use INFO here, as in Redis Enterprise, Redis Cloud and Azure Managed Redis: use \
                       Redis or Valkey itself";

const ACTIVE_ACTIVE: &str = "is one of several masters (active-active), whose writes may contradict each other: use a \
                             server with one master";

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

impl ProbeError {
    /// The same, with the node of the cluster that it is about.
    fn of_account(self, account: &str) -> Self {
        let named = |words| format!("{words} (the node of account {account})");
        match self {
            Self::Unreachable(words) => Self::Unreachable(named(words)),
            Self::Unusable(words) => Self::Unusable(named(words)),
        }
    }
}

/// Probes the master; of a cluster, each one that has keys of these accounts.
pub(super) async fn probe(redis: &Redis, accounts: &[&str]) -> Result<(), ProbeError> {
    let settings = &*redis.0.settings;
    if !matches!(settings.topology, Topology::Cluster(_)) {
        return probe_master(redis, settings, "").await;
    }
    for account in accounts {
        probe_master(redis, settings, account).await.map_err(|error| error.of_account(account))?;
    }
    Ok(())
}

async fn probe_master(redis: &Redis, settings: &Settings, account: &str) -> Result<(), ProbeError> {
    let (script, key) = (Script::new(SCRIPT), format!("{}:{{{account}}}:probe", settings.namespace));
    let channel = format!("{}:ledger", settings.namespace);
    let arguments = [channel.as_str()];
    let run = Run::new(&script, &key, &arguments, TIMEOUT).replicated(settings.majority());
    let answer = redis.0.nodes.run(&run).await.map_err(|error| cause(error, settings))?;
    judge(&answer.text, settings.failover, settings.replicas, &settings.topology)?;
    match answer.replicas {
        Ok(replicas) if replicas < settings.majority() => Err(ProbeError::Unreachable(format!(
            "has {replicas} replicas that are ready, and with state.replicas = {} it needs {} of them",
            settings.replicas,
            settings.majority()
        ))),
        Ok(_) => Ok(()),
        Err(error) => Err(cause(error, settings)),
    }
}

/// Whether trying again may help after an error, or what to change.
fn cause(error: RunError, settings: &Settings) -> ProbeError {
    match error {
        RunError::Refused(error) if PASSING.iter().any(|code| error.starts_with(code)) => {
            ProbeError::Unreachable(format!("is not ready: {error}"))
        }
        RunError::Refused(error) => ProbeError::Unusable(advice(&error, settings.database)),
        error => ProbeError::Unreachable(error.to_string()),
    }
}

/// What to change after an error of the server.
fn advice(error: &str, database: u32) -> String {
    if error.contains(NO_DATABASE) {
        return format!("has no database {database}: choose another one in state.redis, such as 0");
    }
    let known = |advice: &[(&[&str], &'static str)]| {
        advice.iter().find(|(signs, _)| signs.iter().any(|sign| error.contains(sign))).map(|(_, advice)| *advice)
    };
    if error.starts_with(OF_SENTINEL) {
        let advice = known(ADVICE_ON_SENTINELS).unwrap_or("the Sentinels cannot be used");
        return format!("cannot be found, {error}: {advice}");
    }
    let advice = known(ADVICE).unwrap_or("the server cannot be used; state.redis needs Redis or Valkey");
    format!("answers \"{error}\": {advice}")
}

/// What makes a server unfit, and what to change.
fn judge(info: &str, failover: Failover, replicas: u32, topology: &Topology) -> Result<(), ProbeError> {
    let info = Info(info);
    if matches!(topology, Topology::Sentinel { .. }) && info.field("role") == "slave" {
        let words = "is a replica, although the Sentinels name it as the master; a failover may be under way";
        return Err(ProbeError::Unreachable(words.to_owned()));
    }
    check_version(&info)
        .and_then(|()| check_ids(&info))
        .and_then(|()| check_topology(&info, topology))
        .and_then(|()| check_role(&info))
        .and_then(|()| check_eviction(&info))
        .and_then(|()| check_replicas(&info, failover, replicas))
        .map_err(ProbeError::Unusable)
}

/// The text of INFO.
struct Info<'a>(&'a str);

impl<'a> Info<'a> {
    /// A field's value; empty if it is missing.
    fn field(&self, name: &str) -> &'a str {
        let mut lines = self.0.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
    }
}

fn check_version(info: &Info<'_>) -> Result<(), String> {
    // Valkey states a version of Redis too, which never changes.
    let mut versions = [info.field("valkey_version"), info.field("redis_version"), "unknown"].into_iter();
    let version = versions.find(|version| !version.is_empty()).unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_MAJOR) {
        return Err(format!("has version {version}: use Redis {OLDEST_MAJOR}.0 or later, or Valkey"));
    }
    Ok(())
}

fn check_ids(info: &Info<'_>) -> Result<(), String> {
    if ["run_id", "master_replid"].iter().any(|name| info.field(name).is_empty()) {
        return Err(format!("does not state run_id and master_replid in INFO: {NO_INFO}"));
    }
    Ok(())
}

fn check_topology(info: &Info<'_>, topology: &Topology) -> Result<(), String> {
    match (info.field("cluster_enabled") == "1", topology) {
        (true, Topology::Single(_) | Topology::Sentinel { .. }) => Err(format!("has cluster-enabled yes: {CLUSTER}")),
        (false, Topology::Cluster(_)) => Err("is not a cluster: write redis:// or rediss:// in state.redis".to_owned()),
        _ => Ok(()),
    }
}

fn check_role(info: &Info<'_>) -> Result<(), String> {
    let is_active_active = info.0.lines().any(|line| line.starts_with("crdt_"));
    match info.field("role") {
        "active-replica" => Err(ACTIVE_ACTIVE.to_owned()),
        "master" if is_active_active => Err(ACTIVE_ACTIVE.to_owned()),
        "master" => Ok(()),
        "slave" => {
            let (host, port) = (info.field("master_host"), info.field("master_port"));
            let writable = if info.field("slave_read_only") == "0" { ", even though it takes writes" } else { "" };
            Err(format!("is a replica{writable}: set state.redis to its master, {host}:{port}"))
        }
        role => Err(format!("has the role \"{role}\": set state.redis to a master")),
    }
}

fn check_eviction(info: &Info<'_>) -> Result<(), String> {
    let policy = info.field("maxmemory_policy");
    if !policy.starts_with("allkeys-") || info.field("maxmemory") == "0" {
        return Ok(());
    }
    Err(format!(
        "may evict the ledger's keys (maxmemory-policy {policy}): set maxmemory-policy to noeviction or to one of \
         volatile-*"
    ))
}

fn check_replicas(info: &Info<'_>, failover: Failover, replicas: u32) -> Result<(), String> {
    let connected = info.field("connected_slaves").parse::<u32>().unwrap_or_default();
    if failover == Failover::Fenced || connected <= replicas {
        return Ok(());
    }
    if replicas > 0 {
        return Err(too_many(connected, replicas));
    }
    Err(format!(
        "has replicas ({connected}): one that takes over may lack the last writes, so calls would exceed the threshold. \
         Set state.replicas to {connected}, so that nothing counts before a majority of the nodes has it. If a replica \
         takes over only when it has all writes and the old master is stopped, set state.failover to \"fenced\" instead"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::Server;

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
            (
                "cluster_enabled:0",
                "cluster_enabled:1",
                Some("has cluster-enabled yes: for a cluster write redis-cluster://"),
            ),
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
            ("role:master", "role:sentinel", Some("has the role \"sentinel\"")),
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
            let outcome = judge(&FIT.replace(from, to), Failover::None, 0, &single());
            match words {
                None => assert_eq!(outcome, Ok(()), "{to}"),
                Some(words) => assert!(is_unusable(&outcome, words), "{to}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn the_replicas_have_to_be_known() {
        for (connected, failover, replicas, words) in [
            ("2", Failover::Fenced, 0, None),
            ("2", Failover::None, 0, Some("has replicas (2): one that takes over")),
            ("2", Failover::None, 1, Some("the master has 2 replicas, and state.replicas is 1: set it to 2")),
            ("2", Failover::None, 2, None),
            // One is away, or takes over just now.
            ("1", Failover::None, 2, None),
            ("0", Failover::None, 2, None),
        ] {
            let info = FIT.replace("connected_slaves:0", &format!("connected_slaves:{connected}"));
            let outcome = judge(&info, failover, replicas, &single());
            match words {
                None => assert_eq!(outcome, Ok(()), "{connected} {replicas}"),
                Some(words) => assert!(is_unusable(&outcome, words), "{outcome:?}"),
            }
        }
    }

    #[test]
    fn the_url_has_to_fit_the_topology() {
        let (cluster, replica) = (Topology::Cluster(Vec::new()), FIT.replace("role:master", "role:slave"));
        let is_cluster = FIT.replace("cluster_enabled:0", "cluster_enabled:1");
        assert_eq!(judge(&is_cluster, Failover::None, 0, &cluster), Ok(()));
        let outcome = judge(FIT, Failover::None, 0, &cluster);
        assert!(is_unusable(&outcome, "is not a cluster: write redis://"), "{outcome:?}");
        let sentinel = Topology::Sentinel { sentinels: Vec::new(), master: "main".to_owned() };
        assert_eq!(judge(FIT, Failover::None, 2, &sentinel), Ok(()));
        let outcome = judge(&is_cluster, Failover::None, 2, &sentinel);
        assert!(is_unusable(&outcome, "has cluster-enabled yes"), "{outcome:?}");
        let outcome = judge(&replica, Failover::None, 2, &sentinel);
        assert!(matches!(&outcome, Err(ProbeError::Unreachable(error)) if error.contains("failover")), "{outcome:?}");
    }

    fn single() -> Topology {
        Topology::Single(Server::Unix("/none".into()))
    }

    fn is_unusable(outcome: &Result<(), ProbeError>, words: &str) -> bool {
        matches!(outcome, Err(ProbeError::Unusable(error)) if error.contains(words))
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
            ("NOPERM this user has no permissions to run the 'evalsha' command", "allow it on the keys"),
            (
                "ERR ACL failure in script: User joe has no permissions to run the 'info' command",
                "allow it on the keys",
            ),
            ("ERR The user executing the script can't run this command or subcommand", "allow it on the keys"),
            ("ERR DB index is out of range", "has no database 99"),
            ("ERR SELECT is not allowed in cluster mode", "write redis-cluster://"),
            ("CLUSTERDOWN Hash slot not served", "write redis-cluster://"),
            ("ERR This Redis command is not allowed from script", "Redis Enterprise"),
            ("ERR unknown command 'EVALSHA'", "is it a Sentinel"),
            ("DENIED Redis is running in protected mode", "DENIED Redis is running"),
            (
                "the Sentinel redis://h:1 answers \"NOAUTH Authentication required.\"",
                "set state.redis_sentinel_password",
            ),
            ("the Sentinel redis://h:1 answers \"WRONGPASS invalid\"", "correct state.redis_sentinel_password"),
            ("the Sentinel redis://h:1 answers \"ERR unknown command 'SENTINEL'\"", "it is no Sentinel"),
            ("the Sentinel redis://h:1 answers \"it knows no master main\"", "correct the name in state.redis"),
        ] {
            assert!(advice(error, 99).contains(words), "{error}: {}", advice(error, 99));
        }
    }
}
