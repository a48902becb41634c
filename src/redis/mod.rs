//! Redis or Valkey: scripts on one shared connection, and messages of channels.
//!
//! Connecting is lazy, and a request is never repeated if the server may have run it. The parts:
//!
//! - `server` is the address, as a URL states it,
//! - `connect` opens a stream: TCP, TLS or Unix socket, then AUTH and SELECT,
//! - `connection` shares one stream among all scripts that run at a time,
//! - `subscription` follows a channel on a stream of its own,
//! - `probe` judges whether a server is fit for the shared ledger.

mod connect;
mod connection;
mod probe;
mod script;
mod server;
mod subscription;

use std::{sync::Arc, time::Duration};

use rustls::ClientConfig;
use tokio::{
    sync::{Mutex, mpsc},
    time::sleep,
};

pub use probe::ProbeError;
pub use script::Script;
pub use server::{NoServerUrl, Server, ServerUrl};
pub use subscription::Message;

use self::connection::Connection;
use crate::secret::credential::Credential;

/// Where the server is, and how to use it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its address.
    pub server: Server,
    /// TLS, for [`Server::Tls`].
    pub tls: Arc<ClientConfig>,
    /// The user of the access list; `None`: the server's default user.
    pub user: Option<String>,
    /// That user's password. Its file is read at each connection, so it may change.
    pub password: Option<Credential>,
    /// The number of the database.
    pub database: u32,
    /// How the names of all keys and channels begin.
    pub namespace: String,
    /// What happens when the server's replicas take over.
    pub failover: Failover,
}

/// What happens when a server's replicas take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failover {
    /// Nobody arranged it, so a server with replicas is refused: a replica that takes over may lack the last writes.
    None,
    /// The operator vouches that no replica takes over before it has all writes and the old master is stopped.
    Fenced,
}

/// A server of Redis or Valkey; clones share its connection.
#[derive(Debug, Clone)]
pub struct Redis(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    /// Locked while connecting, so that a burst of scripts opens one connection.
    connection: Mutex<Option<Connection>>,
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
        Self(Arc::new(Inner { settings, connection: Mutex::default() }))
    }

    /// Checks that the server is fit for the shared ledger.
    ///
    /// # Errors
    /// [`ProbeError`]: whether to try again, or what to change.
    pub async fn probe(&self) -> Result<(), ProbeError> {
        probe::probe(self).await
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
        self.evaluate(script, Some(key), arguments, timeout).await
    }

    /// Follows a channel in a task of its own, until the receiver is dropped.
    #[must_use]
    pub fn subscribe(&self, channel: String) -> mpsc::Receiver<Message> {
        subscription::follow(self.0.settings.clone(), channel)
    }

    /// Opens a new connection for the next script, when the server is no longer a master: its address may lead to the
    /// new master by now, and the old connection does not.
    pub fn reconnect(&self) {
        // While it is locked, a new connection is being opened.
        if let Ok(shared) = self.0.connection.try_lock()
            && let Some(connection) = shared.as_ref()
        {
            connection.retire();
        }
    }

    /// How the names of all keys and channels begin.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.settings.namespace
    }

    /// Runs a script with one key, or without keys.
    async fn evaluate(
        &self,
        script: &Script,
        key: Option<&str>,
        arguments: &[&str],
        timeout: Duration,
    ) -> Result<String, RunError> {
        let mut timeout_over = std::pin::pin!(sleep(timeout));
        let connection = tokio::select! {
            biased;
            connection = self.connection() => connection?,
            () = &mut timeout_over => {
                return Err(RunError::Unreachable(format!("there is no connection after {timeout:?}")));
            }
        };
        tokio::select! {
            biased;
            outcome = connection.run(script, key, arguments) => outcome,
            () = &mut timeout_over => {
                connection.retire();
                Err(RunError::Unknown(format!("no answer within {timeout:?}")))
            }
        }
    }

    /// The shared connection, or a new one if it is not usable.
    async fn connection(&self) -> Result<Connection, RunError> {
        let mut shared = self.0.connection.lock().await;
        if let Some(connection) = shared.as_ref().filter(|connection| connection.is_usable()) {
            return Ok(connection.clone());
        }
        // The old connection is closed even if the new one fails.
        *shared = None;
        let connection = Connection::open(&self.0.settings).await?;
        Ok(shared.insert(connection).clone())
    }
}
