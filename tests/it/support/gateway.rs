//! The gateway as a process, with a configuration file in its own folder.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Answer, Call, Connection, Process, Sandbox, Upstream, get, until};

/// The credentials that the sandbox accepts.
pub(crate) const CLIENT_SECRET: &str = "sandbox-client-secret";
pub(crate) const REFRESH_TOKEN: &str = "1000.sandbox-refresh-token";

/// The configuration and environment of a gateway, for any number of starts. Clones share the folder.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Dotted keys and their values. A JSON string, number or list looks the same in TOML.
    settings: BTreeMap<String, Value>,
    env: Vec<(String, String)>,
    /// Holds the configuration and, in its default place, the state.
    folder: Arc<TempDir>,
    sandbox: Option<String>,
    file_size_signal_ignored: bool,
    /// What a shell does to start the program in a time namespace.
    time_namespace: Option<String>,
}

/// A running gateway.
pub(crate) struct Gateway {
    process: Process,
    proxy: String,
    admin: String,
    secrets: Vec<String>,
    /// Its configuration; the folder lives as long as the process.
    setup: Setup,
    killed: bool,
}

impl Setup {
    /// A gateway in front of these three servers: accounts, people, calendar.
    pub(crate) fn before_all(accounts: &str, people: &str, calendar: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let (settings, env) = (BTreeMap::new(), Vec::new());
        let (sandbox, time_namespace) = (None, None);
        let setup = Self { settings, env, folder, sandbox, file_size_signal_ignored: false, time_namespace };
        setup
            .set("proxy.listen", json!(["127.0.0.1:0"]))
            .set("admin.listen", "127.0.0.1:0")
            // Shorter than the tests' timeout, so that the log shows a request that is left over.
            .set("proxy.drain", "5s")
            .set("accounts.main.client_id", "1000.SANDBOX")
            .set("accounts.main.client_secret", CLIENT_SECRET)
            .set("accounts.main.refresh_token", REFRESH_TOKEN)
            .set("accounts.main.endpoints.accounts", accounts)
            .set("accounts.main.endpoints.people", people)
            .set("accounts.main.endpoints.calendar", calendar)
    }

    /// Sets a key of the configuration.
    pub(crate) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(key.to_owned(), value.into());
        self
    }

    /// Removes a key.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.settings.remove(key);
        self
    }

    /// Sets a field of a route.
    pub(crate) fn route(self, id: &str, field: &str, value: impl Into<Value>) -> Self {
        self.set(&format!("routes.\"{id}\".{field}"), value)
    }

    /// Gives a key the value of another key.
    pub(crate) fn same(self, key: &str, other: &str) -> Self {
        let value = self.settings[other].clone();
        self.set(key, value)
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The environment variables of the program.
    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.env
    }

    /// Makes the program get an error for a file that may not grow, as on a full disk, and not a signal.
    pub(crate) fn ignoring_the_file_size_signal(mut self) -> Self {
        self.file_size_signal_ignored = true;
        self
    }

    /// Starts the program in its own time namespace, whose monotonic clock is ahead by so many seconds. It has to be
    /// ended by `kill`: signals are not passed on to it.
    pub(crate) fn in_time_namespace(mut self, unshare: &str, ahead: u32) -> Self {
        self.time_namespace =
            Some(format!("exec {unshare} --monotonic {ahead} --fork --kill-child=KILL \"$0\" \"$@\""));
        self
    }

    /// A file of the state.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.path("zoho-gateway-state").join(name)
    }

    /// A path in the configuration's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration file.
    pub(crate) fn write(&self) -> PathBuf {
        let path = self.path("gateway.toml");
        let text = self.settings.iter().fold(String::new(), |text, (key, value)| format!("{text}{key} = {value}\n"));
        fs::write(&path, text).expect("the folder can be written to");
        path
    }

    /// Starts the gateway and waits until it listens.
    pub(crate) fn start(&self) -> Gateway {
        self.start_with(None)
    }

    /// Starts a gateway that takes over from the running one.
    pub(crate) fn take_over(&self) -> Gateway {
        self.start_with(Some("--take-over"))
    }

    fn start_with(&self, option: Option<&str>) -> Gateway {
        let config = self.write();
        let env: Vec<_> = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut arguments = vec![Path::new("run"), Path::new("--config"), &config];
        arguments.extend(option.map(Path::new));
        let process = match (self.file_size_signal_ignored, &self.time_namespace) {
            (true, _) => Process::start_after(r#"trap "" XFSZ"#, &arguments, &env),
            (false, Some(first)) => Process::start_after(first, &arguments, &env),
            (false, None) => Process::start(&arguments, &env),
        };
        let proxy = process.logged(|line| address(line, "the proxy listens"));
        let admin = process.logged(|line| address(line, "the admin listener listens"));
        let secret = |key: &str| self.settings.get(key).and_then(Value::as_str).map(str::to_owned);
        let secrets = ["accounts.main.client_secret", "accounts.main.refresh_token"].into_iter().filter_map(secret);
        Gateway { process, proxy, admin, secrets: secrets.collect(), setup: self.clone(), killed: false }
    }
}

impl Gateway {
    /// A gateway in front of this sandbox.
    pub(crate) fn before(zoho: &Sandbox) -> Setup {
        let mut setup = Setup::before_all(&zoho.url(), &zoho.url(), &zoho.url());
        setup.sandbox = Some(zoho.address().to_owned());
        setup
    }

    /// A gateway in front of a server that a test scripts.
    pub(crate) fn before_upstream(upstream: &Upstream) -> Setup {
        Setup::before_all(&upstream.url(), &upstream.url(), &upstream.url())
    }

    pub(crate) fn address(&self) -> &str {
        &self.proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.proxy)
    }

    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// Sends a call on its own connection.
    pub(crate) async fn send(&self, call: &Call) -> Answer {
        call.send(&self.proxy).await
    }

    /// Opens a connection for several calls.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(&self.proxy).await
    }

    pub(crate) fn admin_address(&self) -> &str {
        &self.admin
    }

    /// Sends a GET to the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        get(path).send(&self.admin).await
    }

    /// Whether its metrics contain this line.
    pub(crate) async fn has_metric(&self, line: &str) -> bool {
        self.admin("/metrics").await.text().lines().any(|other| other == line)
    }

    /// Resolves when this many callers wait for a slot.
    pub(crate) async fn until_waiting(&self, callers: usize) {
        let line = format!("zoho_gateway_waiting {callers}");
        until(&line, async || self.has_metric(&line).await).await;
    }

    /// Resolves when the gateway is ready.
    pub(crate) async fn until_ready(&self) {
        until("it is ready", async || self.admin("/readyz").await.status == 200).await;
    }

    /// Resolves when this many slots of the route are free.
    pub(crate) async fn until_free(&self, route: &str, slots: u64) {
        until(format!("{slots} slots of {route} are free"), async || {
            let status = self.admin("/status").await.json();
            let mut buckets = status["buckets"].as_array().into_iter().flatten();
            buckets
                .find(|window| window["route"] == route)
                .is_some_and(|window| window["threshold"]["remaining"] == slots)
        })
        .await;
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    /// Sends SIGTERM and resolves when the drain has begun.
    pub(crate) async fn drain(&self) {
        self.terminate();
        until("the drain begins", async || self.admin("/readyz").await.json()["checks"]["listener"] == "draining")
            .await;
    }

    /// Waits for its end, and returns the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.process.wait()
    }

    /// Ends it as `kill -9` does; its output can still be read.
    pub(crate) fn kill_now(&mut self) {
        self.process.kill();
        self.process.wait();
        self.killed = true;
    }

    /// Ends it as `kill -9` does, so that it can start again in the same folder.
    pub(crate) fn kill(mut self) -> Setup {
        self.process.kill();
        self.killed = true;
        self.setup.clone()
    }

    /// The same for a gateway in a time namespace, which is the child of the started process.
    pub(crate) async fn kill_in_time_namespace(self) -> Setup {
        let address = self.proxy.clone();
        let setup = self.kill();
        until("no process listens", async || TcpStream::connect(&address).is_err()).await;
        setup
    }

    /// Ends it as a supervisor does, so that it can start again in the same folder.
    pub(crate) fn stop(self) -> Setup {
        self.setup.clone()
    }

    /// Its configuration.
    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Adds a secret to the account's own; the output must not contain it.
    pub(crate) fn must_not_print(&mut self, secret: &str) {
        self.secrets.push(secret.to_owned());
    }
}

/// The checks at the end of every test.
impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.process.log().join("\n"));
            return;
        }
        let tokens = self.setup.sandbox.as_deref().map(used_tokens).unwrap_or_default();
        if !self.killed {
            self.process.terminate();
        }
        let code = self.process.wait();
        let printed = self.process.printed();
        assert_eq!(code, (!self.killed).then_some(0), "the gateway ends well:\n{printed}");
        assert!(!printed.contains("panicked"), "{printed}");
        for secret in self.secrets.iter().chain(&tokens) {
            assert!(!printed.contains(secret.as_str()), "a secret was printed: {secret}\n{printed}");
        }
    }
}

fn address(line: &str, message: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == message).then(|| line["address"].as_str().map(str::to_owned)).flatten()
}

/// The access tokens that the sandbox received. It needs no runtime, because `Drop` has none.
fn used_tokens(sandbox: &str) -> Vec<String> {
    let mut answer = String::new();
    let asked = TcpStream::connect(sandbox).and_then(|mut stream| {
        stream.write_all(b"GET /__sandbox/requests HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n\r\n")?;
        stream.read_to_string(&mut answer)
    });
    assert!(asked.is_ok(), "the sandbox outlives the gateway: {asked:?}");
    let mut tokens: Vec<_> =
        answer.split("Zoho-oauthtoken ").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect();
    tokens.sort();
    tokens.dedup();
    tokens
}
