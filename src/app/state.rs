//! The state that outlives configurations: the ledger with its store, and the server that gateways share.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::StartError;
use crate::{
    config::{self, WhenEmpty},
    ledger::{
        CallHistory, FROZEN, Journal, KeptToken, LimiterContext, Limiters, Limits, Observer, ProcessName,
        RecordedBackend, Recovered, SharedBackend, SharedTiming, StartState,
        store::{OpenError, Opened, Store},
    },
    os::{clock, freeze_guard::FreezeGuard, process_name},
    redis::{ProbeError, Redis},
    secret::random,
    telemetry::{Metrics, Observations},
    zoho::account::{Account, AccountName},
};

/// Checks the server of a shared ledger, and guards against a freeze in which other gateways would take over the slots
/// of this one. A server that cannot be reached yet is waited for later.
pub(super) async fn probed(
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
pub(super) fn ledger(
    state: &config::State,
    redis: Option<&Redis>,
    limits: Limits,
    longest: Duration,
    metrics: &Arc<Metrics>,
    observations: &Arc<Observations>,
) -> Result<(Limiters, Journal, BTreeMap<String, KeptToken>), StartError> {
    let own = random::hex().map_err(StartError::Random)?.expose().to_owned();
    let Recorded { limiters, journal, tokens, dead } = recorded_ledger(state, limits, metrics, observations, &own)?;
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
    metrics: &Arc<Metrics>,
    observations: &Arc<Observations>,
    name: &str,
) -> Result<Recorded, StartError> {
    let observers = [Arc::clone(metrics) as Arc<dyn Observer>, Arc::clone(observations) as _].into();
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
    let journal =
        Journal::keep(store, Arc::clone(&recovered), metrics.state_write_timer()).map_err(StartError::Journal)?;
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
