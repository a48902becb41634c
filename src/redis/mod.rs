//! Redis or Valkey: scripts, and messages of channels.
//!
//! Connecting is lazy, and a request is never repeated if the server may have run it. The parts, from below:
//!
//! - `server` has addresses: of one server, of Sentinels that know the master, or of nodes of a cluster,
//! - `url` reads them from a URL,
//! - `connect` opens a stream: TCP, TLS or Unix socket, then AUTH and SELECT,
//! - `connection` runs scripts on one stream,
//! - `discovery` finds the server to connect to,
//! - `node` has the connections to one server: one that scripts share, and some for one script at a time,
//! - `cluster` knows which node has which key,
//! - `subscription` follows a channel on a stream of its own,
//! - `probe` judges whether a server is fit for the shared ledger.

mod cluster;
mod connect;
mod connection;
mod discovery;
mod node;
mod probe;
mod script;
mod server;
mod subscription;
mod url;

use std::{fmt, sync::Arc, time::Duration};

use rustls::ClientConfig;
use tokio::sync::mpsc;

pub use probe::ProbeError;
pub use script::Script;
pub use server::{Server, Topology};
pub use subscription::Message;
pub use url::{NoServerUrl, ServerUrl};

use self::{cluster::Nodes, node::Answer, script::Run};
use crate::{
    os::{clock, timer::Timer},
    secret::credential::Credential,
};

/// Where the servers are, and how to use them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Their addresses.
    pub topology: Topology,
    /// TLS, for [`Server::Tls`].
    pub tls: Arc<ClientConfig>,
    /// The user of the access list; `None`: the server's default user.
    pub user: Option<String>,
    /// That user's password. Its file is read at each connection, so it may change.
    pub password: Option<Credential>,
    /// The password of the Sentinels.
    pub sentinel_password: Option<Credential>,
    /// The number of the database.
    pub database: u32,
    /// How the names of all keys and channels begin.
    pub namespace: String,
    /// What happens when the server's replicas take over.
    pub failover: Failover,
    /// How many replicas each master has.
    pub replicas: u32,
}

impl Settings {
    /// How many replicas form a majority of all nodes together with their master.
    fn majority(&self) -> u32 {
        self.replicas.div_ceil(2)
    }
}

/// What happens when a server's replicas take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failover {
    /// Nobody arranged it, so a server with replicas is refused: a replica that takes over may lack the last writes.
    None,
    /// The operator vouches that no replica takes over before it has all writes and the old master is stopped.
    Fenced,
}

/// A server of Redis or Valkey, or several; clones share their connections.
#[derive(Debug, Clone)]
pub struct Redis(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Arc<Settings>,
    nodes: Nodes,
    timer: Arc<dyn Timer>,
}

/// Why a script has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// There is no connection, so the script was certainly not sent.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It may have run, may run later, or was lost.
    #[error("has not answered: {0}")]
    Unknown(String),
    /// The server answered with this error. A script that fails in the middle keeps what it wrote until then.
    #[error("refuses: {0}")]
    Refused(String),
}

impl Redis {
    /// Connects when it is used for the first time, inside a runtime of tokio.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::with(Arc::new(settings), Arc::new(()))
    }

    /// The same server, over another connection; `timer` receives how long each request takes.
    #[must_use]
    pub fn timed_by(&self, timer: Arc<dyn Timer>) -> Self {
        Self::with(Arc::clone(&self.0.settings), timer)
    }

    fn with(settings: Arc<Settings>, timer: Arc<dyn Timer>) -> Self {
        Self(Arc::new(Inner { nodes: Nodes::new(Arc::clone(&settings)), settings, timer }))
    }

    /// The same server, over another connection.
    #[must_use]
    pub fn with_own_connection(&self) -> Self {
        Self::with(Arc::clone(&self.0.settings), Arc::clone(&self.0.timer))
    }

    /// Checks that the server is fit for the shared ledger of these accounts.
    ///
    /// # Errors
    /// [`ProbeError`]: whether to try again, or what to change.
    pub async fn probe(&self, accounts: &[&str]) -> Result<(), ProbeError> {
        probe::probe(self, accounts).await
    }

    /// Runs a script once, on one key, and returns its text. Both connecting and running count towards `timeout`.
    ///
    /// # Errors
    /// [`RunError`]: what happened, and whether the script may have run.
    pub async fn run(
        &self,
        script: &Script,
        key: &str,
        arguments: &[&str],
        timeout: Duration,
    ) -> Result<String, RunError> {
        Ok(self.answer(&Run::new(script, key, arguments, timeout)).await?.text)
    }

    /// Runs a script like [`run`](Self::run), and says whether a majority of the nodes has what it wrote. Without
    /// replicas the master is all of them.
    ///
    /// # Errors
    /// [`RunError`]. A script that was not confirmed has an answer.
    pub async fn run_confirmed(
        &self,
        script: &Script,
        key: &str,
        arguments: &[&str],
        timeout: Duration,
    ) -> Result<(String, bool), RunError> {
        let Settings { replicas: most, .. } = *self.0.settings;
        let needed = self.0.settings.majority();
        let run = Run::new(script, key, arguments, timeout).replicated(needed);
        let Answer { text, replicas } = self.answer(&run).await?;
        match replicas {
            Ok(replicas) if replicas > most => Err(RunError::Refused(too_many(replicas, most))),
            replicas => Ok((text, replicas.is_ok_and(|replicas| replicas >= needed))),
        }
    }

    async fn answer(&self, run: &Run<'_>) -> Result<Answer, RunError> {
        let began = clock::now();
        let answer = self.0.nodes.run(run).await;
        self.0.timer.ended(clock::now().saturating_duration_since(began), answer.is_ok());
        answer
    }

    /// Follows a channel in a task of its own, until the receiver is dropped.
    #[must_use]
    pub fn subscribe(&self, channel: String) -> mpsc::Receiver<Message> {
        subscription::follow(Arc::clone(&self.0.settings), channel)
    }

    /// Opens a new connection for the next script, when the server is no longer a master: its address may lead to the
    /// new master by now, and the old connection does not.
    pub fn reconnect(&self) {
        self.0.nodes.reconnect();
    }

    /// How the names of all keys and channels begin.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.settings.namespace
    }
}

/// With more replicas than it says, `state.replicas` counts a minority as the majority.
fn too_many(replicas: impl fmt::Display, most: u32) -> String {
    format!("the master has {replicas} replicas, and state.replicas is {most}: set it to {replicas} for all gateways")
}
