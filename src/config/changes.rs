//! Which keys differ between two configurations, and which of them cannot change while the gateway runs.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{
    Config,
    source::{Node, Table, Value},
};
use crate::zoho::catalogue::Route;

/// What is set up once, at the start. A key ends at a dot.
const AT_THE_START: [&str; 15] = [
    "admin",
    "audit.file",
    "audit.fsync",
    "jobs",
    "proxy.body_timeout",
    "proxy.header_timeout",
    "proxy.idle_timeout",
    "proxy.listen",
    "proxy.max_connections",
    "proxy.max_header_bytes",
    "proxy.max_headers",
    "proxy.send_timeout",
    "proxy.tls",
    "proxy.unix",
    "state",
];

/// The keys that are set, each with a hash of its value: enough to see a change, and no secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SetKeys(BTreeMap<String, u64>);

impl fmt::Debug for SetKeys {
    /// Without the keys: two configurations with the same values look the same, whichever keys say so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetKeys")
    }
}

impl SetKeys {
    pub(super) fn of(tree: &Table) -> Self {
        let mut keys = BTreeMap::new();
        collect(tree, "", &mut keys);
        Self(keys)
    }

    /// The keys that were added, removed or have another value.
    #[must_use]
    pub fn changed(&self, newer: &Self) -> Vec<String> {
        let differs = |key: &&String| self.0.get(*key) != newer.0.get(*key);
        let mut changed: Vec<_> = self.0.keys().chain(newer.0.keys()).filter(differs).cloned().collect();
        changed.sort_unstable();
        changed.dedup();
        changed
    }
}

fn collect(table: &Table, within: &str, keys: &mut BTreeMap<String, u64>) {
    for entry in &table.0 {
        let plain = entry.key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let name = if plain { entry.key.clone() } else { format!("{:?}", entry.key) };
        let name = if within.is_empty() { name } else { format!("{within}.{name}") };
        match &entry.node.value {
            Value::Table(table) if !table.0.is_empty() => collect(table, &name, keys),
            _ => drop(keys.insert(name, hash(&entry.node))),
        }
    }
}

fn hash(node: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    feed(&node.value, &mut hasher);
    hasher.finish()
}

fn feed(value: &Value, hasher: &mut DefaultHasher) {
    value.kind().hash(hasher);
    match value {
        Value::Text(text) => text.expose().hash(hasher),
        Value::Integer(number) => number.hash(hasher),
        Value::Boolean(is) => is.hash(hasher),
        Value::List(nodes) => nodes.iter().for_each(|node| feed(&node.value, hasher)),
        Value::Table(table) => table.0.iter().for_each(|entry| {
            entry.key.hash(hasher);
            feed(&entry.node.value, hasher);
        }),
        Value::Other(_) => {}
    }
}

/// Whether one of these keys is that key, or below it.
#[must_use]
pub fn concern(changed: &[String], key: &str) -> bool {
    changed.iter().any(|other| is_within(other, key))
}

fn is_within(other: &str, key: &str) -> bool {
    other.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Config {
    /// Takes over from the running configuration what cannot change while the gateway runs. Returns the keys that need a
    /// restart, compared with the configuration at the start.
    pub fn keep_until_restart(&mut self, running: &Self, at_start: &SetKeys) -> Vec<String> {
        let mut keys = at_start.changed(&self.keys);
        keys.retain(|key| AT_THE_START.iter().any(|fixed| is_within(key, fixed)));
        self.proxy.listen.clone_from(&running.proxy.listen);
        self.proxy.tls.clone_from(&running.proxy.tls);
        self.proxy.unix.clone_from(&running.proxy.unix);
        self.proxy.timeouts = running.proxy.timeouts;
        self.proxy.max_connections = running.proxy.max_connections;
        self.admin.clone_from(&running.admin);
        self.state.clone_from(&running.state);
        self.jobs.clone_from(&running.jobs);
        self.audit.file.clone_from(&running.audit.file);
        self.audit.fsync = running.audit.fsync;
        // The other gateways rely on it.
        if self.state.redis.is_some() && self.upstream.timeout != running.upstream.timeout {
            self.upstream.timeout = running.upstream.timeout;
            keys.push("upstream.timeout".to_owned());
        }
        self.keep_uncounted(running, &mut keys);
        keys
    }

    /// Calls of a route without a threshold or without a limit of a window, or of an account without a daily limit, were not
    /// counted so far. So they get none before a restart, and lose none.
    fn keep_uncounted(&mut self, running: &Self, keys: &mut Vec<String>) {
        for account in &mut self.accounts {
            let Some(before) = running.accounts.iter().find(|before| before.name == account.name) else { continue };
            if before.daily_calls.is_some() != account.daily_calls.is_some() {
                account.daily_calls = before.daily_calls;
                keys.push(format!("accounts.{}.daily_calls", account.name));
            }
        }
        for route in self.catalogue.routes.iter_mut().chain(&mut self.catalogue.default_routes) {
            let Some(before) = running.catalogue.iter().find(|before| before.id == route.id) else { continue };
            let windows = |route: &Route| route.further_limits.iter().map(|limit| limit.window).collect::<Vec<_>>();
            if before.threshold.is_some() != route.threshold.is_some() {
                route.threshold = before.threshold;
                route.further_limits.clone_from(&before.further_limits);
                keys.push(format!("routes.\"{}\".throttle", route.id));
            } else if windows(before) != windows(route) {
                route.threshold = before.threshold;
                route.further_limits.clone_from(&before.further_limits);
                keys.push(format!("routes.\"{}\".limits", route.id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const ACCOUNT: &str = "[accounts.main]\nclient_id = \"1\"\nclient_secret = \"2\"\nrefresh_token = \"3\"\n";

    fn parsed(more: &str) -> Config {
        parse("gateway.toml", &format!("{ACCOUNT}{more}"), []).unwrap()
    }

    fn keys(more: &str) -> SetKeys {
        parsed(more).keys
    }

    #[test]
    fn names_each_key_that_differs() {
        let before =
            keys("[queue]\nmax_wait = \"5s\"\n[routes.\"people.lms.share-course\"]\nrequests = 3\nwindow = \"1m\"");
        let after =
            keys("[queue]\nmax_wait = \"6s\"\n[routes.\"people.lms.share-course\"]\nrequests = 3\nlock = \"1m\"");
        assert_eq!(
            before.changed(&after),
            ["queue.max_wait", "routes.\"people.lms.share-course\".lock", "routes.\"people.lms.share-course\".window"]
        );
        assert!(before.changed(&before.clone()).is_empty());
    }

    #[test]
    fn keeps_what_needs_a_restart() {
        let running = parsed("[admin]\nlisten = \"127.0.0.1:9090\"");
        let mut newer = parsed(
            "daily_calls = 10\n[admin]\nlisten = \"127.0.0.1:9091\"\n[queue]\nmax_wait = \"1s\"\n[routes.\"people.lms.share-course\"]\nthrottle = \"off\"",
        );
        let restart = newer.keep_until_restart(&running, &running.keys);
        assert_eq!(
            restart,
            ["admin.listen", "accounts.main.daily_calls", "routes.\"people.lms.share-course\".throttle"]
        );
        assert_eq!(newer.admin.listen, running.admin.listen);
        assert_eq!(newer.queue.max_wait.as_secs(), 1);
    }

    #[test]
    fn limits_of_other_windows_wait_for_a_restart() {
        const ROUTE: &str = "people.v3-attendance.add-entries";
        let with = |limits: &str| parsed(&format!("[routes.\"{ROUTE}\"]\nlimits = [{limits}]"));
        let running = parsed("");
        let mut newer = with("{ requests = 5, window = \"1m\" }, { requests = 50, window = \"2h\" }");
        let restart = newer.keep_until_restart(&running, &running.keys);
        assert_eq!(restart, [format!("routes.\"{ROUTE}\".limits")]);
        let limits = |config: &Config| {
            let route = config.catalogue.find(ROUTE).unwrap();
            (route.threshold, route.further_limits.clone())
        };
        assert_eq!(limits(&newer), limits(&running));
        // Other numbers hold at once.
        let numbers = [(5, "1m"), (50, "1h"), (500, "24h")];
        let table = numbers.map(|(requests, window)| format!("{{ requests = {requests}, window = \"{window}\" }}"));
        let mut newer = with(&table.join(", "));
        assert!(newer.keep_until_restart(&running, &running.keys).is_empty());
        assert_eq!(newer.catalogue.find(ROUTE).unwrap().further_limits[1].requests.get(), 500);
    }

    #[test]
    fn a_key_includes_those_below_it() {
        let changed = ["proxy.tls.cert".to_owned(), "stateful".to_owned()];
        assert!(concern(&changed, "proxy.tls") && !concern(&changed, "state") && !concern(&changed, "proxy.t"));
    }
}
