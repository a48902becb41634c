//! Calls that outlive their request: jobs.
//!
//! With `Prefer: respond-async` (RFC 7240) a call becomes a job: it is stored, its caller gets 202 with the job's
//! `Location`, and it waits for its slot and is sent like every other call. Its answer is kept and asked for later.
//! With `Idempotency-Key` a repeated request is the same call: the second one gets the answer of the first.
//!
//! The layer stands above the cache, so a job that writes invalidates it when the write is executed, not when its
//! caller got 202; and below the layers that reject for free, so only valid and permitted calls become jobs. The
//! resources below `/gateway/jobs` are a layer of their own ([`JobResources`]) below the caller's authentication and above
//! the route, because they are no calls to Zoho.
//!
//! Guarantees:
//! - 202 is answered when the job is durable. From then on it ends in exactly one state, whatever happens to the process.
//! - A call that may change something is sent once: that it is being sent is durable before its first byte leaves. If the
//!   process dies while sending, the job's state is `unknown`, unless its caller said that it may be repeated.
//! - A job belongs to its caller. For everybody else it does not exist.
//!
//! The parts: `wish` reads what a request says, `submit` accepts it, `run` sends the job, `respond` waits for it, `remove` ends its
//! existence, `restore` takes over what an earlier process left, `elsewhere` knows the jobs of other gateways;
//! `job` is one job and `index` all of them; `kept` has requests and answers as bytes, `seal` encrypts them, `store` keeps
//! them; `resources` and `view` show them.

mod budget;
mod elsewhere;
mod id;
mod index;
mod job;
mod kept;
mod remove;
mod resources;
mod respond;
mod restore;
mod run;
mod seal;
mod service;
mod store;
mod submit;
#[cfg(test)]
mod tests;
mod view;
mod wish;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::Path,
    sync::Arc,
    time::Duration,
};

use http::Response;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;
use tower::util::BoxCloneSyncService;

use self::{budget::Budget, index::Index, job::Job, store::Store};
pub use self::{
    id::JobId,
    job::State as JobState,
    resources::JobResources,
    service::JobsLayer,
    view::{JobFilter, JobPage, JobView},
};
use crate::{
    call::Call,
    ledger::Limiters,
    message::body::Body,
    os::shutdown::Shutdown,
    problem::Refusal,
    redis::Redis,
    telemetry::Traces,
    zoho::{
        account::{Account, AccountName},
        catalogue::{Route, RouteId},
    },
};

/// The limits of jobs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a job may wait until it is sent.
    pub max_wait: Duration,
    /// How long a job is kept after its end.
    pub keep: Duration,
    /// How many jobs are kept, waiting ones included.
    pub max_jobs: usize,
    /// How many bytes all requests and answers may have.
    pub max_bytes: u64,
    /// The largest answer that is kept, in bytes.
    pub max_answer: u64,
}

/// The calls that jobs can make.
#[derive(Debug, Default)]
pub struct KnownCalls {
    /// Every configured account.
    pub accounts: BTreeMap<AccountName, Arc<Account>>,
    /// Every route.
    pub routes: HashMap<RouteId, Arc<Route>>,
}

/// What the jobs need of the gateway.
#[derive(Debug)]
pub struct JobDeps {
    /// The accounts and routes of the configuration, which may change.
    pub known: RwLock<KnownCalls>,
    /// The limiters, which know how long a call waits.
    pub limiters: Arc<Limiters>,
    /// The limit that a rejection of a larger body names.
    pub max_body: u64,
    /// The longest wait that a caller may prefer.
    pub longest_wait: Duration,
    /// The state of the shutdown.
    pub shutdown: Shutdown,
    /// For the spans of jobs.
    pub traces: Traces,
}

/// The service that sends the calls of jobs.
type Sender = BoxCloneSyncService<Call, Response<Body>, Refusal>;

/// All jobs.
#[derive(Debug)]
pub struct Jobs {
    settings: Settings,
    deps: JobDeps,
    store: Store,
    index: Mutex<Index>,
    budget: Arc<Budget>,
    /// The jobs that are to run.
    starts: mpsc::UnboundedSender<Arc<Job>>,
    /// Sends the calls of jobs: the layers below, as the newest configuration has them.
    inner: RwLock<Option<Sender>>,
    /// The other end, until the layer takes it.
    started: Mutex<Option<mpsc::UnboundedReceiver<Arc<Job>>>>,
    /// With Redis: the jobs that this gateway does not own any more, until the layer takes it.
    lost: Mutex<Option<mpsc::UnboundedReceiver<JobId>>>,
}

impl Jobs {
    /// Opens the jobs in this folder; without one, they end with the process.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(dir: Option<&Path>, settings: Settings, deps: JobDeps) -> io::Result<Arc<Self>> {
        let (store, rows) = Store::open(dir)?;
        let jobs = Self::with(store, None, settings, deps);
        jobs.restore(rows);
        Ok(jobs)
    }

    /// The jobs on Redis, for all gateways of its namespace.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn share(redis: Redis, settings: Settings, deps: JobDeps) -> io::Result<Arc<Self>> {
        let accounts = deps.known.read().accounts.keys().map(|account| account.as_str().to_owned()).collect();
        let (store, lost) = Store::share(redis, accounts)?;
        Ok(Self::with(store, Some(lost), settings, deps))
    }

    fn with(
        store: Store,
        lost: Option<mpsc::UnboundedReceiver<JobId>>,
        settings: Settings,
        deps: JobDeps,
    ) -> Arc<Self> {
        let (starts, started) = mpsc::unbounded_channel();
        let (budget, index) = (Budget::new(settings.max_bytes), Mutex::default());
        let (started, lost) = (Mutex::new(Some(started)), Mutex::new(lost));
        let inner = RwLock::default();
        Arc::new(Self { settings, deps, store, index, budget, starts, inner, started, lost })
    }

    /// The configuration has changed. Jobs that exist keep their account and route.
    pub fn set_known_calls(&self, known: KnownCalls) {
        *self.deps.known.write() = known;
    }

    /// Why no job can be stored now, if that is so.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.store.failure()
    }

    /// Writes what is left and closes the store.
    pub async fn close(&self) {
        self.store.close().await;
    }
}
