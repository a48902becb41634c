//! The simulated Zoho as a process, and its control API.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Call, Process, get, http::call, until};

/// A running sandbox.
pub(crate) struct Sandbox {
    process: Process,
    address: String,
}

/// A request as the sandbox received it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) body: String,
}

/// What the sandbox counted for one API.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Tally {
    pub(crate) arrivals: u64,
    pub(crate) accepted: u64,
    pub(crate) locks: u64,
    pub(crate) arrivals_during_lock: u64,
    pub(crate) most_in_any_window: usize,
}

#[derive(Debug, Deserialize)]
struct Stats {
    apis: BTreeMap<String, Tally>,
    tokens: BTreeMap<String, Tokens>,
}

#[derive(Debug, Deserialize)]
struct Tokens {
    calls: u64,
}

impl Sandbox {
    /// Starts a sandbox on a free port, with these additional options.
    pub(crate) fn start(options: &[&str]) -> Self {
        let arguments = [&["sandbox", "--listen", "127.0.0.1:0"], options].concat();
        let process = Process::start(&arguments, &[]);
        let find = |line: &str| Some(line.split_once("http://")?.1.trim_end_matches('.').to_owned());
        let address = process.said(find);
        Self { process, address }
    }

    /// A sandbox with a threshold that no test reaches.
    pub(crate) fn boundless() -> Self {
        Self::start(&["--requests", "100000", "--window", "1s"])
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was counted, by login and API.
    pub(crate) async fn tallies(&self) -> BTreeMap<String, Tally> {
        self.stats().await.apis
    }

    /// What was counted for `api`, over all logins.
    pub(crate) async fn tally(&self, api: &str) -> Tally {
        let stats = self.stats().await;
        let mut found = stats.apis.into_iter().filter(|(name, _)| name.ends_with(api)).map(|(_, tally)| tally);
        let tally = found.next().unwrap_or_default();
        assert!(found.next().is_none(), "{api} names one API of one login");
        tally
    }

    /// How many tokens were requested.
    pub(crate) async fn token_calls(&self) -> u64 {
        self.stats().await.tokens.values().map(|tokens| tokens.calls).sum()
    }

    /// Every People and Calendar request, oldest first.
    pub(crate) async fn requests(&self) -> Vec<Seen> {
        let answer = get("/__sandbox/requests").send(&self.address).await;
        serde_json::from_slice(&answer.body).expect("a list of requests")
    }

    /// Sends a command to the control API.
    pub(crate) async fn pull(&self, lever: &str) {
        let lever: Call = call("POST", &format!("/__sandbox/{lever}"));
        let answer = lever.send(&self.address).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Locks an API for every login.
    pub(crate) async fn lock(&self, api: &str, seconds: f64) {
        let api: String = api
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).into() } else { format!("%{b:02X}") })
            .collect();
        self.pull(&format!("lock?api={api}&seconds={seconds}")).await;
    }

    /// Resolves when this many calls of `api` have arrived during a lock.
    pub(crate) async fn until_locked_out(&self, api: &str, calls: u64) {
        until(format!("{calls} calls have hit the lock"), async || self.tally(api).await.arrivals_during_lock >= calls)
            .await;
    }

    async fn stats(&self) -> Stats {
        let answer = get("/__sandbox/stats").send(&self.address).await;
        serde_json::from_slice(&answer.body).expect("statistics")
    }
}

impl Seen {
    /// The values of a header, in order.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.process.terminate();
        assert_eq!(self.process.wait(), Some(0), "the sandbox ends well");
        let printed = self.process.printed();
        assert!(!printed.contains("panicked"), "{printed}");
    }
}
