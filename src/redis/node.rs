//! The connections to one server: one that scripts share, and some for scripts that need one alone.

use std::{future::Future, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore},
    time::timeout_at,
};

use super::{RunError, Settings, connection::Connection, script::Run};

/// How many scripts have a connection alone at a time. While replicas answer within ten milliseconds, these carry about
/// as many scripts as the server can run.
const MOST_ALONE: usize = 32;

/// The connections to one server; each is opened when it is needed.
#[derive(Debug)]
pub(super) struct Node {
    settings: Arc<Settings>,
    /// Locked while connecting, so that a burst of scripts opens one connection.
    shared: AsyncMutex<Option<Connection>>,
    /// Those for one script at a time that nobody uses now.
    idle: Mutex<Vec<Connection>>,
    alone: Semaphore,
}

impl Node {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self { settings, shared: AsyncMutex::default(), idle: Mutex::default(), alone: Semaphore::new(MOST_ALONE) }
    }

    /// Runs a script on the shared connection.
    pub(super) async fn run(&self, run: &Run<'_>) -> Result<String, RunError> {
        in_time(run, self.shared()).await??.run(run).await
    }

    /// Runs a script on a connection that carries nothing else, and says how many replicas have what it wrote: `needed`,
    /// or fewer if they take too long.
    pub(super) async fn run_replicated(
        &self,
        run: &Run<'_>,
        needed: u32,
    ) -> Result<(String, Result<u32, RunError>), RunError> {
        let _place = in_time(run, self.alone.acquire()).await?;
        let connection = in_time(run, self.alone()).await??;
        let answer = connection.run(run).await?;
        // The server stops waiting when half of the time is left, so that its answer arrives before the deadline.
        let waiting = connection.wait_for_replicas(needed, run.time_left() / 2);
        let replicas = match timeout_at(run.deadline, waiting).await {
            Ok(replicas) => replicas,
            Err(_) => Err(RunError::Unknown("no answer to WAIT".to_owned())),
        };
        match &replicas {
            Ok(replicas) if *replicas >= needed => self.idle.lock().push(connection),
            // Its replicas may follow another master by now. A new connection may lead there.
            _ => self.idle.lock().clear(),
        }
        Ok((answer, replicas))
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
        let connection = Connection::open(&self.settings).await?;
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
            None => Connection::open(&self.settings).await,
        }
    }
}

/// What comes before the script is sent, if it takes no longer than the run may.
async fn in_time<T>(run: &Run<'_>, before: impl Future<Output = T>) -> Result<T, RunError> {
    let late = |_| RunError::Unreachable(format!("there is no connection after {:?}", run.timeout));
    timeout_at(run.deadline, before).await.map_err(late)
}
