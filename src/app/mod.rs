//! The gateway as a whole: built from a configuration, run until it is asked to stop.

pub mod admin;
pub mod stack;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use crate::{
    app::{
        admin::Admin,
        stack::{StackDeps, stack},
    },
    call::prefer::WaitLimits,
    config::{self, Config, Proxy, ScopeCheck, UnknownRoute, WhenEmpty},
    ledger::{
        CallHistory, FROZEN, Journal, KeptToken, LimiterContext, Limiters, Limits, Observer, ProcessName,
        RecordedBackend, Recovered, SharedBackend, SharedTiming, StartState,
        store::{OpenError, Opened, Store},
    },
    listener::{self, BindError, ConnectionLimit, ListenAddress, Listener, Timeouts, Tls},
    middleware::{
        browser_guard::KnownHosts,
        caller::{self, Issuers, KeySource},
        jobs::{JobDeps, Jobs},
        route::{AmbiguousRoutes, Matcher, Router},
        token::{self, Grants, Source, TokenLedger, Turns},
    },
    os::{clock, freeze_guard::FreezeGuard, process_name, shutdown::Shutdown},
    problem::respond,
    redis::{ProbeError, Redis},
    secret::random::{self, NoRandomness},
    telemetry::{self, KnownLabels, Metrics},
    upstream,
    zoho::{
        account::{Account, AccountName},
        catalogue::RouteId,
    },
};

/// Bodies that are being read may hold this part of the bytes that waiting calls may hold, in addition to those.
const READING_PART: u64 = 4;

/// What sets the addresses, for messages.
const OF_PROXY: &str = "it is set by proxy.listen, or run --listen ADDR";
const OF_ADMIN: &str = "it is set by admin.listen, or run --admin-listen ADDR";

/// What keeps a gateway from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be listened on.
    #[error("{error} ({keys})")]
    Bind {
        /// What is wrong.
        #[source]
        error: BindError,
        /// What sets the address.
        keys: &'static str,
    },
    /// The state store could not be opened.
    #[error(transparent)]
    State(#[from] OpenError),
    /// The thread that writes the state store could not be started.
    #[error("cannot start the journal of the state store: {0}")]
    Journal(#[source] std::io::Error),
    /// The server of the shared ledger cannot be used.
    #[error("the server of state.redis {0}")]
    Redis(String),
    /// The gateway has no name among the others.
    #[error(transparent)]
    Random(NoRandomness),
    /// The timer that kills a frozen process could not be started.
    #[error("cannot guard against a frozen process, which state.redis needs: {0}")]
    FreezeGuard(#[source] std::io::Error),
    /// The audit file cannot be opened.
    #[error("cannot open the audit's file {}: {error}", .path.display())]
    Audit {
        /// The path of the audit file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The store of the jobs could not be opened.
    #[error("cannot open the jobs in state.dir: {0}")]
    Jobs(#[source] std::io::Error),
    /// The catalogue has ambiguous routes.
    #[error(transparent)]
    Routes(#[from] AmbiguousRoutes),
}

/// A gateway with its sockets open, not yet serving.
#[derive(Debug)]
pub struct App {
    proxy: Vec<Listener>,
    admin: Listener,
    tls: Option<Arc<Tls>>,
    operation: config::Admin,
    /// The ids of all routes.
    routes: Arc<[RouteId]>,
    deps: StackDeps,
    journal: Journal,
    timeouts: Timeouts,
    max_connections: usize,
    drain: Duration,
    /// With a shared ledger.
    _guard: Option<FreezeGuard>,
}

impl App {
    /// Builds everything and opens the sockets.
    ///
    /// # Errors
    /// [`StartError`]; then nothing was sent and all sockets are closed.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        if config.audit.required && !tracing::enabled!(target: telemetry::AUDIT, tracing::Level::INFO) {
            tracing::warn!("audit.required is set, and RUST_LOG turns the audit off: nothing is recorded");
        }
        let config::Audit { file, fsync, required: audit_required } = config.audit.clone();
        telemetry::audit_to(file.as_deref(), fsync).map_err(|error| StartError::Audit {
            path: file.clone().unwrap_or_else(|| PathBuf::from("standard error")),
            error,
        })?;
        let config::Upstream { connect_timeout, extra_roots, egress, .. } = &config.upstream;
        if let Some(egress) = egress.description() {
            tracing::info!(egress, "connections to Zoho and to issuers go through a proxy");
        }
        let client = upstream::client(upstream::tls(extra_roots), egress, *connect_timeout);
        let matcher = Matcher::new(&config.catalogue)?;
        let metrics = Arc::new(Metrics::new());
        metrics.create_series(&known_labels(&config));
        let grants = Grants::new(client.clone(), config.upstream.timeout);
        let named = |account: Account| (account.name.clone(), Arc::new(account));
        let accounts: BTreeMap<_, _> = config.accounts.into_iter().map(named).collect();
        let deny_unknown = config.routing.unknown == UnknownRoute::Deny;
        let mut proxy = Vec::new();
        for address in &config.proxy.listen {
            let listener = Listener::bind(address, &config.proxy.unix).await;
            let listener = listener.map_err(|error| StartError::Bind { error, keys: OF_PROXY })?;
            proxy.push(match &config.proxy.tls {
                Some(tls) => listener.over_tls(tls),
                None => listener,
            });
        }
        let observers = [Arc::clone(&metrics) as Arc<dyn Observer>].into();
        let redis = config.state.redis.as_ref().map(|shared| Redis::new(shared.settings.clone()));
        let guard = probed(redis.as_ref(), &accounts).await?;
        let (limiters, journal, tokens) =
            ledger(&config.state, redis.as_ref(), config.queue.limits, config.upstream.timeout, observers)?;
        let limiters = limiters.with_reserves(Arc::new(config.callers.clone()));
        limiters.recall(&accounts, &config.catalogue);
        let source = |(name, account): (&AccountName, &Arc<Account>)| {
            let ledger = TokenLedger::new(&limiters, account, config.token);
            let (journal, kept) = (journal.clone(), tokens.get(name.as_str()));
            let turns = redis.clone().map(|redis| Turns::new(redis, name.as_str()));
            let (account, metrics) = (Arc::clone(account), Arc::clone(&metrics));
            let source = Source::new(account, grants.clone(), ledger, journal, kept, turns, metrics);
            (name.clone(), source)
        };
        let sources = Arc::new(accounts.iter().map(source).collect());
        let (limiters, shutdown) = (Arc::new(limiters), Shutdown::default());
        let job_deps = JobDeps {
            accounts: accounts.clone(),
            routes: config.catalogue.iter().map(|route| (route.id.clone(), Arc::new(route.clone()))).collect(),
            limiters: Arc::clone(&limiters),
            max_body: config.proxy.max_body,
            longest_wait: config.queue.max_preferred_wait,
            shutdown: shutdown.clone(),
        };
        let jobs = match &redis {
            Some(redis) => Jobs::share(redis.clone(), config.jobs, job_deps),
            None => Jobs::open(config.state.dir.as_deref(), config.jobs, job_deps),
        };
        let routes = config.catalogue.iter().map(|route| route.id.clone()).collect();
        let has_cache = config.catalogue.iter().any(|route| !route.cache.is_zero());
        let deps = StackDeps {
            hosts: known_hosts(&config.proxy, &accounts),
            callers: config.callers,
            issuers: Issuers::new(config.issuers, egress, &metrics),
            router: Router { accounts, matcher, deny_unknown },
            limiters,
            jobs: Some(jobs.map_err(StartError::Jobs)?),
            check_scopes: config.routing.scopes == ScopeCheck::Check,
            sources,
            client,
            wait: WaitLimits { usual: config.queue.max_wait, preferred: config.queue.max_preferred_wait },
            timeout: config.upstream.timeout,
            max_body: config.proxy.max_body,
            max_form: config.proxy.max_form,
            max_held: config.queue.limits.bytes as u64 / READING_PART,
            cache_bytes: config.cache.max_bytes,
            redis: redis.filter(|_| has_cache),
            audit_required,
            shutdown,
            metrics,
        };
        // Always a TCP address, so the mode of Unix sockets does not apply.
        let admin = Listener::bind(&config.admin.listen, &config.proxy.unix).await;
        let admin = admin.map_err(|error| StartError::Bind { error, keys: OF_ADMIN })?;
        let admin = match &config.admin.tls {
            Some(tls) => admin.over_tls(tls),
            None => admin,
        };
        let Proxy { drain, timeouts, max_connections, tls, .. } = config.proxy;
        let operation = config.admin;
        Ok(Self {
            proxy,
            admin,
            tls,
            operation,
            routes,
            deps,
            journal,
            timeouts,
            max_connections,
            drain,
            _guard: guard,
        })
    }

    /// The addresses of the proxy, with the ports that the system chose.
    #[must_use]
    pub fn proxy_addresses(&self) -> Vec<String> {
        self.proxy.iter().map(Listener::to_string).collect()
    }

    /// The address of the admin listener.
    #[must_use]
    pub fn admin_address(&self) -> String {
        self.admin.to_string()
    }

    /// Serves until it is `asked` to stop, then drains: it rejects new work, and waits for work in flight until the
    /// configured time is over or it is asked again.
    pub async fn run(self, mut asked: impl AsyncFnMut()) {
        let Self { proxy, admin, tls, operation, routes, deps, journal, timeouts, max_connections, drain, _guard } =
            self;
        let shutdown = deps.shutdown.clone();
        let admin_service = Admin {
            metrics: Arc::clone(&deps.metrics),
            limiters: Arc::clone(&deps.limiters),
            sources: Arc::clone(&deps.sources),
            issuers: deps.issuers.clone(),
            callers: deps.callers.clone(),
            routes,
            keys: operation.keys.clone(),
            quitquitquit: operation.quitquitquit,
            jobs: deps.jobs.clone(),
            audit_required: deps.audit_required,
            shutdown: shutdown.clone(),
            hosts: deps.hosts.clone(),
        };
        for listener in &proxy {
            tracing::info!(address = %listener, "the proxy listens");
        }
        tracing::info!(address = %admin, "the admin listener listens");
        let limiters = Arc::clone(&deps.limiters);
        let (sources, metrics) = (Arc::clone(&deps.sources), Arc::clone(&deps.metrics));
        let (callers, issuers, jobs) = (deps.callers.clone(), deps.issuers.clone(), deps.jobs.clone());
        let service = stack(deps);
        let connections = ConnectionLimit::for_callers(max_connections);
        tracing::info!(connections = connections.free(), "limit of concurrent connections");
        let mut listeners = JoinSet::new();
        for listener in proxy {
            listeners.spawn(listener::serve(
                listener,
                service.clone(),
                connections.clone(),
                timeouts,
                shutdown.clone(),
            ));
        }
        listeners.spawn(listener::serve(
            admin,
            admin_service,
            ConnectionLimit::for_operators(),
            timeouts,
            shutdown.clone(),
        ));
        listeners.spawn(token::follow_files(Arc::clone(&sources), shutdown.clone()));
        if let Some(tls) = tls {
            listeners.spawn(listener::follow_tls(tls, "proxy.tls", Some(metrics), shutdown.clone()));
        }
        if let Some(tls) = operation.tls {
            listeners.spawn(listener::follow_tls(tls, "admin.tls", None, shutdown.clone()));
        }
        if !operation.keys.is_empty() {
            listeners.spawn(caller::follow_files(operation.keys, Issuers::default(), shutdown.clone()));
        }
        listeners.spawn(caller::follow_files(callers, issuers.clone(), shutdown.clone()));
        listeners.spawn(caller::fetch_keys(issuers, shutdown.clone()));
        tokio::select! {
            () = asked() => {}
            () = shutdown.end_asked() => {}
        }
        shutdown.drain();
        // A call that gets no slot before the end is rejected at once, and does not delay the end.
        if let Some(end) = clock::now().checked_add(drain) {
            limiters.close(end);
        }
        tracing::info!(longest_s = drain.as_secs(), "draining: new work is rejected, work in flight may end");
        tokio::select! {
            () = shutdown.drained() => {}
            () = tokio::time::sleep(drain) => {
                tracing::warn!("the drain's time is over; work in flight is cut off");
            }
            () = asked() => tracing::warn!("asked again to stop; work in flight is cut off"),
        }
        shutdown.cut();
        while listeners.join_next().await.is_some() {}
        sources.values().for_each(|source| source.ended_on_purpose());
        // Other gateways may use its slots as soon as they know that this one ends.
        let _ = limiters.context().backend.close().await;
        if let Some(jobs) = jobs {
            jobs.close().await;
        }
        // The last answers are written, or the next process would count their calls as unanswered.
        journal.close().await;
        tracing::info!("drained");
    }
}

/// Checks the server of a shared ledger, and guards against a freeze in which other gateways would take over the slots
/// of this one. A server that cannot be reached yet is waited for later.
async fn probed(
    redis: Option<&Redis>,
    accounts: &BTreeMap<AccountName, Arc<Account>>,
) -> Result<Option<FreezeGuard>, StartError> {
    let Some(redis) = redis else { return Ok(None) };
    let accounts: Vec<_> = accounts.keys().map(AccountName::as_str).collect();
    match redis.probe(&accounts).await {
        Ok(()) => {}
        Err(ProbeError::Unreachable(reason)) => {
            tracing::error!(reason, "the server of state.redis cannot be used yet; calls wait until it can");
        }
        Err(ProbeError::Unusable(reason)) => return Err(StartError::Redis(reason)),
    }
    FreezeGuard::start(FROZEN, || true).map(Some).map_err(StartError::FreezeGuard)
}

/// The ledger as the last process left it, the journal of its store, and the tokens that the last process left.
fn ledger(
    state: &config::State,
    redis: Option<&Redis>,
    limits: Limits,
    longest: Duration,
    observers: Arc<[Arc<dyn Observer>]>,
) -> Result<(Limiters, Journal, BTreeMap<String, KeptToken>), StartError> {
    let own = random::hex().map_err(StartError::Random)?.expose().to_owned();
    let Recorded { limiters, journal, tokens, dead } = recorded_ledger(state, limits, observers, &own)?;
    let (Some(shared), Some(redis)) = (&state.redis, redis) else { return Ok((limiters, journal, tokens)) };
    let timing = SharedTiming { lease: shared.lease, longest };
    let fresh = state.when_empty == WhenEmpty::Fresh;
    let name = ProcessName { own, dead, shown: process_name::of_this_process() };
    let backend = SharedBackend::new(redis.clone(), timing, fresh, name, journal.clone());
    let context = LimiterContext { backend: Arc::new(backend), ..limiters.context().clone() };
    Ok((Limiters::new(context), journal, tokens))
}

/// The ledger of a single gateway, and what its folder says about earlier processes.
struct Recorded {
    limiters: Limiters,
    journal: Journal,
    tokens: BTreeMap<String, KeptToken>,
    /// The names of processes that are certainly dead.
    dead: Vec<String>,
}

/// Opens the folder, in which the next process finds this one's `name`.
fn recorded_ledger(
    state: &config::State,
    limits: Limits,
    observers: Arc<[Arc<dyn Observer>]>,
    name: &str,
) -> Result<Recorded, StartError> {
    let context = LimiterContext { observers, ..LimiterContext::in_memory(limits) };
    let Some(dir) = &state.dir else {
        let (limiters, journal) = (Limiters::new(context), Journal::in_memory());
        return Ok(Recorded { limiters, journal, tokens: BTreeMap::new(), dead: Vec::new() });
    };
    let Opened { mut store, mut start_state, incidents, tokens } = Store::open(dir)?;
    // With a shared ledger, the folder does not hold what was sent.
    let may_be_lost = state.when_empty == WhenEmpty::AssumeLost && state.redis.is_none();
    if start_state == StartState::Fresh && may_be_lost {
        let reason = "the folder holds no state, and state.when_empty says that this means it was lost".to_owned();
        start_state = StartState::Lost { reason, set_aside: None, locks: BTreeMap::new() };
    } else if start_state == StartState::Fresh {
        tracing::info!(dir = %dir.display(), "the state store is new: nothing was sent from here before");
    }
    if let StartState::Lost { reason, set_aside, locks } = &start_state {
        let set_aside = set_aside.as_ref().map(|path| path.display().to_string());
        let locks = locks.len();
        tracing::error!(dir = %dir.display(), reason, set_aside, locks, "the state store is lost: every threshold counts as used up for one window from now on");
    }
    let dead = if state.redis.is_some() { predecessors(&store, name) } else { Vec::new() };
    let recovered = Arc::new(Recovered::new(start_state, clock::now()));
    // So that unanswered calls are given up once, not again at each start.
    store.write(&recovered.left()).map_err(OpenError::from)?;
    let journal = Journal::keep(store, Arc::clone(&recovered)).map_err(StartError::Journal)?;
    let backend = Arc::new(RecordedBackend::new(recovered, journal.clone()));
    let history = Arc::new(CallHistory::with(&incidents));
    let limiters = Limiters::new(LimiterContext { backend, history, ..context });
    Ok(Recorded { limiters, journal, tokens, dead })
}

/// The names of the processes that used the folder before.
fn predecessors(store: &Store, name: &str) -> Vec<String> {
    store.name_process(name).unwrap_or_else(|error| {
        tracing::warn!(%error, "state.dir cannot keep this process's name: after a crash, its slots of the shared ledger wait longer");
        Vec::new()
    })
}

/// The labels that the metrics can have.
fn known_labels(config: &Config) -> KnownLabels<'static> {
    let accounts: Vec<_> = config.accounts.iter().map(|account| account.name.clone()).collect();
    let calls = accounts
        .iter()
        .flat_map(|account| config.throttled_routes_of(account).map(|route| (account.clone(), route.id.clone())));
    let calls = calls.collect();
    // Only issuers whose keys are fetched.
    let issuers = config.issuers.iter().filter(|issuer| matches!(issuer.keys, KeySource::Url { .. }));
    KnownLabels {
        problems: respond::NAMES,
        issuers: issuers.map(|issuer| issuer.name.clone()).collect(),
        accounts,
        calls,
    }
}

/// The names that requests may have in `Host`: Zoho's, those of the listen addresses, and those from the configuration.
fn known_hosts(proxy: &Proxy, accounts: &BTreeMap<AccountName, Arc<Account>>) -> KnownHosts {
    let zohos = accounts.values().flat_map(|account| account.hosts());
    let own = proxy.listen.iter().filter_map(ListenAddress::host).map(str::to_owned);
    KnownHosts::new(zohos.chain(own).chain(proxy.hosts.iter().cloned()))
}
