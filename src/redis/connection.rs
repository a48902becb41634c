//! One stream, shared by all scripts that run at a time.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisConnectionInfo, RedisError, ServerErrorKind,
    aio::MultiplexedConnection,
};
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;

use super::{
    RunError,
    connect::{Stream, without_arguments},
    script::Run,
};

/// An open connection; clones share it. The server answers in the order of the requests, and an answer that nobody
/// waits for is dropped, so it never passes for the answer of a later request.
#[derive(Clone)]
pub(super) struct Connection {
    requests: MultiplexedConnection,
    shared: Arc<Shared>,
}

struct Shared {
    /// Writes the requests and reads the answers. Ends when the server closes the connection.
    driver: AbortOnDropHandle<()>,
    is_retired: AtomicBool,
}

impl Connection {
    /// Takes over a stream.
    pub(super) async fn on(stream: Stream) -> Result<Self, RunError> {
        // `connect` has prepared the stream, and each run has a deadline of its own.
        let nothing_to_prepare = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let (requests, driver) = MultiplexedConnection::new_with_config(&nothing_to_prepare, stream, config)
            .await
            .map_err(|error| RunError::Unreachable(error.to_string()))?;
        let driver = AbortOnDropHandle::new(tokio::spawn(driver));
        Ok(Self { requests, shared: Arc::new(Shared { driver, is_retired: AtomicBool::new(false) }) })
    }

    /// Whether it is open as far as this side knows, and not retired.
    pub(super) fn is_usable(&self) -> bool {
        !self.shared.driver.is_finished() && !self.shared.is_retired.load(Ordering::Relaxed)
    }

    /// Keeps later requests from using it: its server may have vanished. It closes when the last request has ended.
    pub(super) fn retire(&self) {
        self.shared.is_retired.store(true, Ordering::Relaxed);
    }

    /// Runs a script by its name, or by its code if the server does not know the name; then it has not run yet.
    pub(super) async fn run(&self, run: &Run<'_>) -> Result<String, RunError> {
        match timeout_at(run.deadline, self.evaluate(run)).await {
            Ok(answer) => answer.map_err(|error| self.judge(&error)),
            Err(_) => {
                self.retire();
                Err(RunError::Unknown(format!("no answer within {:?}", run.timeout)))
            }
        }
    }

    async fn evaluate(&self, run: &Run<'_>) -> Result<String, RedisError> {
        match self.redirected(run, &run.by_name()).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.redirected(run, &run.by_code()).await
            }
            outcome => outcome,
        }
    }

    /// Sends a command. ASKING holds for the next command only, and a script that asks has its connection alone.
    async fn redirected(&self, run: &Run<'_>, command: &Cmd) -> Result<String, RedisError> {
        if run.asking {
            self.query::<()>(&redis::cmd("ASKING")).await?;
        }
        self.query(command).await
    }

    /// Waits until enough replicas have what this connection has written, and returns how many have it, or fewer. Nobody
    /// else may use the connection meanwhile, because the server answers nothing else on it.
    pub(super) async fn wait_for_replicas(&self, run: &Run<'_>) -> Result<u32, RunError> {
        if run.replicas == 0 {
            return Ok(0);
        }
        // The server stops waiting when half of the time is left, so that its answer arrives before the deadline. It
        // would wait forever for 0.
        let most = u64::try_from(run.time_left().as_millis() / 2).unwrap_or(u64::MAX).max(1);
        match timeout_at(run.deadline, self.query(redis::cmd("WAIT").arg(run.replicas).arg(most))).await {
            Ok(replicas) => replicas.map_err(|error| self.judge(&error)),
            Err(_) => Err(RunError::Unknown("no answer to WAIT".to_owned())),
        }
    }

    /// The host and port of a master that a Sentinel watches.
    pub(super) async fn ask_sentinel(&self, master: &str) -> Result<Option<(String, u16)>, RunError> {
        let command = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master).take();
        self.query(&command).await.map_err(|error| self.judge(&error))
    }

    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        command.query_async(&mut self.requests.clone()).await
    }

    /// Says what an error means, and retires the connection unless the server answered.
    fn judge(&self, error: &RedisError) -> RunError {
        match error.kind() {
            ErrorKind::Server(kind) => {
                // See `Redis::reconnect`.
                if kind == ServerErrorKind::ReadOnly {
                    self.retire();
                }
                RunError::Refused(words(error))
            }
            ErrorKind::Extension => RunError::Refused(words(error)),
            ErrorKind::UnexpectedReturnType => RunError::Unknown(format!("expected something else: {error}")),
            _ => {
                self.retire();
                RunError::Unknown(format!("the connection is lost: {error}"))
            }
        }
    }
}

/// A server's error as the server wrote it.
fn words(error: &RedisError) -> String {
    let words = [error.code().unwrap_or_default(), error.detail().unwrap_or_default()].join(" ");
    without_arguments(words.trim()).to_owned()
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection {{ usable: {} }}", self.is_usable())
    }
}
