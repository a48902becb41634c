//! What is built once and kept by all reloads.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::{StartError, admin::page::Streams, state};
use crate::{
    config::{self, Config},
    ledger::{Journal, KeptToken, Limiters, Rules, store::OpenError},
    middleware::{
        caller::CallerLimiters,
        jobs::{JobDeps, Jobs, KnownCalls},
    },
    os::{clock, freeze_guard::FreezeGuard, process_name, shutdown::Shutdown},
    redis::Redis,
    telemetry::{Metrics, Observations, RecentRefusals, Traces},
    upstream::{self, Collector},
    zoho::account::{Account, AccountName},
};

/// How often a state is tried that another process has.
const AGAIN: Duration = Duration::from_millis(5);

/// Windows and queues, jobs, the store, and what is counted.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) limiters: Arc<Limiters>,
    pub(super) journal: Journal,
    pub(super) redis: Option<Redis>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) caller_limiters: Arc<CallerLimiters>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) observations: Arc<Observations>,
    pub(super) traces: Traces,
    /// The last refusals.
    pub(super) refusals: Arc<RecentRefusals>,
    /// When the gateway started.
    pub(super) started: Instant,
    /// The browsers that watch the live page.
    pub(super) streams: Arc<Streams>,
    pub(super) shutdown: Shutdown,
    /// The tokens that the last process left, by account.
    pub(super) tokens: Mutex<BTreeMap<String, KeptToken>>,
    /// With a shared ledger.
    _guard: Option<FreezeGuard>,
}

impl Kept {
    /// Opens the state. A process that is about to end may have it for so long.
    ///
    /// # Errors
    /// [`StartError`]; then nothing was sent.
    pub(super) async fn open(
        config: &Config,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
        patience: Duration,
    ) -> Result<Self, StartError> {
        let accounts = accounts(config);
        let config::Upstream { connect_timeout, extra_roots, egress, .. } = &config.upstream;
        let collector = Collector::new(upstream::client(upstream::tls(extra_roots), egress, *connect_timeout));
        let traces = Traces::from_environment(collector, &process_name::of_this_process());
        let observations = Observations::new();
        observations.follow(&config.catalogue);
        let timed = |redis: Redis| redis.timed_by(metrics.redis_timer());
        let redis = config.state.redis.as_ref().map(|shared| timed(Redis::new(shared.settings.clone())));
        let guard = state::probed(redis.as_ref(), &accounts).await?;
        let (queue, longest) = (config.queue.limits, config.upstream.timeout);
        let give_up = clock::now() + patience;
        let (limiters, journal, tokens) = loop {
            match state::ledger(&config.state, redis.as_ref(), queue, longest, &metrics, &observations) {
                Err(StartError::State(OpenError::Held { .. })) if clock::now() < give_up => {
                    tokio::time::sleep(AGAIN).await;
                }
                outcome => break outcome?,
            }
        };
        limiters.change(rules(config, &accounts));
        limiters.recall();
        let limiters = Arc::new(limiters);
        let deps = JobDeps {
            known: RwLock::new(known_calls(config, &accounts)),
            limiters: Arc::clone(&limiters),
            max_body: config.proxy.max_body,
            longest_wait: config.queue.max_preferred_wait,
            shutdown: shutdown.clone(),
            traces: traces.clone(),
        };
        let jobs = match &redis {
            Some(redis) => Jobs::share(redis.clone(), config.jobs.clone(), deps),
            None => Jobs::open(config.state.dir.as_deref(), config.jobs.clone(), deps),
        };
        let (jobs, tokens) = (jobs.map_err(StartError::Jobs)?, Mutex::new(tokens));
        Ok(Self {
            limiters,
            journal,
            redis,
            jobs,
            caller_limiters: Arc::default(),
            metrics,
            observations,
            traces,
            refusals: Arc::default(),
            started: clock::now(),
            streams: Arc::default(),
            shutdown,
            tokens,
            _guard: guard,
        })
    }

    /// Windows, queues and jobs follow the configuration from now on.
    pub(super) fn change(&self, config: &Config, accounts: &BTreeMap<AccountName, Arc<Account>>) {
        self.limiters.context().capacity.change(config.queue.limits);
        self.limiters.change(rules(config, accounts));
        self.jobs.set_known_calls(known_calls(config, accounts));
    }
}

/// The accounts by name.
pub(super) fn accounts(config: &Config) -> BTreeMap<AccountName, Arc<Account>> {
    let named = |account: &Account| (account.name.clone(), Arc::new(account.clone()));
    config.accounts.iter().map(named).collect()
}

fn rules(config: &Config, accounts: &BTreeMap<AccountName, Arc<Account>>) -> Rules {
    let KnownCalls { accounts, routes } = known_calls(config, accounts);
    Rules { accounts, routes, reserves: Some(Arc::new(config.callers.clone())) }
}

fn known_calls(config: &Config, accounts: &BTreeMap<AccountName, Arc<Account>>) -> KnownCalls {
    let routes = config.catalogue.iter().map(|route| (route.id.clone(), Arc::new(route.clone()))).collect();
    KnownCalls { accounts: accounts.clone(), routes }
}
