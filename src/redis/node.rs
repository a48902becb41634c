//! The connections to one server: one that scripts share, and some for scripts that need one alone.

use std::{future::Future, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore},
    time::timeout_at,
};

use super::{RunError, Server, Settings, connect, connection::Connection, discovery, script::Run};

/// How many scripts have a connection alone at a time. While replicas answer within ten milliseconds, these carry about
/// as many scripts as the server can run.
const MOST_ALONE: usize = 32;

/// The connections to one server; each is opened when it is needed.
#[derive(Debug)]
pub(super) struct Node {
    settings: Arc<Settings>,
    /// `None`: the one to which the settings lead.
    server: Option<Server>,
    /// Locked while connecting, so that a burst of scripts opens one connection.
    shared: AsyncMutex<Option<Connection>>,
    /// Those for one script at a time that nobody uses now.
    idle: Mutex<Vec<Connection>>,
    alone: Semaphore,
}

/// What a script has answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) text: String,
    /// How many replicas have what it wrote: as many as it needs, or fewer if they take too long.
    pub(super) replicas: Result<u32, RunError>,
}

impl Node {
    /// This server, or the one to which the settings lead.
    pub(super) fn new(settings: Arc<Settings>, server: Option<Server>) -> Self {
        Self {
            settings,
            server,
            shared: AsyncMutex::default(),
            idle: Mutex::default(),
            alone: Semaphore::new(MOST_ALONE),
        }
    }

    /// Runs a script.
    pub(super) async fn run(&self, run: &Run<'_>) -> Result<Answer, RunError> {
        if run.replicas > 0 || run.asking {
            return self.run_alone(run).await;
        }
        let text = in_time(run, self.shared()).await??.run(run).await?;
        Ok(Answer { text, replicas: Ok(0) })
    }

    /// Runs a script on a connection that carries nothing else.
    async fn run_alone(&self, run: &Run<'_>) -> Result<Answer, RunError> {
        let _place = in_time(run, self.alone.acquire()).await?;
        let connection = in_time(run, self.alone()).await??;
        let text = connection.run(run).await?;
        let replicas = connection.wait_for_replicas(run).await;
        if replicas.as_ref().is_ok_and(|replicas| *replicas >= run.replicas) {
            self.idle.lock().push(connection);
        } else {
            // They may follow another master by now. A new connection may lead there.
            self.reconnect();
        }
        Ok(Answer { text, replicas })
    }

    /// Opens new connections from now on.
    pub(super) fn reconnect(&self) {
        self.idle.lock().clear();
        // While it is locked, a new connection is being opened.
        if let Ok(shared) = self.shared.try_lock()
            && let Some(connection) = shared.as_ref()
        {
            connection.retire();
        }
    }

    /// The shared connection, or a new one if it is not usable.
    async fn shared(&self) -> Result<Connection, RunError> {
        let mut shared = self.shared.lock().await;
        if let Some(connection) = shared.as_ref().filter(|connection| connection.is_usable()) {
            return Ok(connection.clone());
        }
        // The old connection is closed even if the new one fails.
        *shared = None;
        let connection = self.open().await?;
        Ok(shared.insert(connection).clone())
    }

    /// A connection that nobody else uses.
    async fn alone(&self) -> Result<Connection, RunError> {
        let idle = {
            let mut idle = self.idle.lock();
            idle.retain(Connection::is_usable);
            idle.pop()
        };
        match idle {
            Some(connection) => Ok(connection),
            None => self.open().await,
        }
    }

    async fn open(&self) -> Result<Connection, RunError> {
        let stream = match &self.server {
            Some(server) => connect::open(&self.settings, server).await?,
            None => discovery::open(&self.settings).await?,
        };
        Connection::on(stream).await
    }
}

/// What comes before the script is sent, if it takes no longer than the run may.
async fn in_time<T>(run: &Run<'_>, before: impl Future<Output = T>) -> Result<T, RunError> {
    let late = |_| RunError::Unreachable(format!("there is no connection after {:?}", run.timeout));
    timeout_at(run.deadline, before).await.map_err(late)
}
