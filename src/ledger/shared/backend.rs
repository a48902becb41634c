//! The adapter of the port: the slots of a route, as far as this member holds them.

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    account::{AccountState, SharedAccount, now},
    limit::LimitSettings,
    link::Link,
    member::Member,
    message::Message,
    status::SharedStatus,
    timing::Timing,
    view::Reader,
};
use crate::{
    ledger::{
        AfterLoss, Backend, Health, Journal, Key, LimitSpec, LockHit, NO_ANSWER_GRACE, Slots, Step,
        forecast::Forecast,
        slots::{Allowance, Outlook, Recorded, SharedRecords, WaitingCalls},
        window::{Denied, Grant},
    },
    os::clock,
    redis::{self, Redis, Script},
};

/// The one script of the shared ledger.
const EXCHANGE: &str = include_str!("exchange.lua");

/// How often a member speaks although it has no news.
const BEAT: Duration = Duration::from_secs(1);

/// How long a process may be frozen without being killed by its [freeze guard](crate::os::freeze_guard).
pub const FROZEN: Duration = Duration::from_secs(5);

/// What the members of a namespace have in common.
#[derive(Debug, Clone, Copy)]
pub struct SharedTiming {
    /// How long a gateway goes on alone with the slots that it holds.
    pub lease: Duration,
    /// How long a released call may take until it is answered or its connection is closed.
    pub longest: Duration,
}

/// How records call this process.
#[derive(Debug)]
pub struct ProcessName {
    /// The first part of its names, which no process had before.
    pub own: String,
    /// The same of earlier processes that are certainly dead.
    pub dead: Vec<String>,
    /// Its name for operators.
    pub shown: String,
}

/// By the key of its record.
type Accounts = Mutex<BTreeMap<String, Arc<SharedAccount>>>;

/// The channel on which members hear that something has changed.
fn channel(redis: &Redis) -> String {
    format!("{}:ledger", redis.namespace())
}

/// Passes messages on to the accounts that they are about. A lost one costs no more than a beat.
async fn listen(mut messages: mpsc::Receiver<redis::Message>, accounts: Arc<Accounts>) {
    while let Some(message) = messages.recv().await {
        let redis::Message::Text(text) = message else { continue };
        let Ok(message) = serde_json::from_str::<Message>(&text) else { continue };
        if let Some(account) = accounts.lock().get(&message.record) {
            account.state.lock().member.hear(&message, clock::now());
            account.news.notify_one();
        }
    }
}

/// The backend for several processes, which share a record on Redis for each account.
#[derive(Debug)]
pub struct SharedBackend {
    redis: Redis,
    script: Arc<Script>,
    timing: Timing,
    /// Whether an empty record is a first start.
    fresh: bool,
    name: ProcessName,
    reader: Reader,
    journal: Journal,
    accounts: Arc<Accounts>,
    tasks: TaskTracker,
    stopped: CancellationToken,
    runtime: tokio::runtime::Handle,
}

impl SharedBackend {
    /// A process that no record knows yet. Must be called inside a runtime.
    #[must_use]
    pub fn new(redis: Redis, timing: SharedTiming, fresh: bool, name: ProcessName, journal: Journal) -> Self {
        let reader = Reader::new(redis.with_own_connection());
        let SharedTiming { lease, longest } = timing;
        let timing = Timing { lease, longest, frozen: FROZEN, grace: NO_ANSWER_GRACE, beat: BEAT.min(lease / 4) };
        let accounts = Arc::new(Accounts::default());
        let (tasks, stopped) = (TaskTracker::new(), CancellationToken::new());
        let messages = redis.subscribe(channel(&redis));
        tasks.spawn(stopped.clone().run_until_cancelled_owned(listen(messages, Arc::clone(&accounts))));
        Self {
            redis,
            script: Arc::new(Script::new(EXCHANGE)),
            timing,
            fresh,
            name,
            reader,
            journal,
            accounts,
            tasks,
            stopped,
            runtime: tokio::runtime::Handle::current(),
        }
    }

    fn account(&self, name: &str) -> Arc<SharedAccount> {
        let mut accounts = self.accounts.lock();
        // In a cluster the part in braces decides where the key is.
        let key = format!("{}:{{{name}}}:ledger", self.redis.namespace());
        if let Some(account) = accounts.get(&key) {
            return Arc::clone(account);
        }
        let ProcessName { own, dead, shown } = &self.name;
        let mut member = Member::new(own.clone(), shown.clone(), self.timing, self.fresh);
        member.dead.clone_from(dead);
        let account = SharedAccount::new(name.to_owned(), member);
        let link = Link {
            account: Arc::clone(&account),
            redis: self.redis.clone(),
            script: Arc::clone(&self.script),
            key: key.clone(),
            channel: channel(&self.redis),
            timeout: self.timing.lease / 2,
        };
        self.tasks.spawn_on(link.run(self.stopped.clone()), &self.runtime);
        accounts.insert(key, Arc::clone(&account));
        account
    }
}

impl Backend for SharedBackend {
    fn slots(&self, own: LimitSpec, wider: Vec<LimitSpec>, calls: Weak<dyn WaitingCalls>) -> Box<dyn Slots> {
        let account = self.account(&own.key.account);
        let limits: Arc<[String]> = [&own].into_iter().chain(&wider).map(|spec| spec.key.limit.clone()).collect();
        set_limits(&mut account.state.lock().member, &own, &wider, now().monotonic);
        let locks = Arc::new(Notify::new());
        account.add_route(Arc::clone(&limits), calls, Arc::clone(&locks));
        account.news.notify_one();
        let shared = wider.iter().map(|spec| spec.shared).collect();
        Box::new(SharedSlots { account, limits, shared, locks })
    }

    fn left(&self) -> Vec<Key> {
        Vec::new()
    }

    fn keep_incident(&self, report: String) {
        self.journal.keep_incident(report);
    }

    fn health(&self) -> Health {
        let accounts = self.accounts.lock();
        let failure = accounts.values().find_map(|account| account.state.lock().failure.clone());
        match (failure, self.journal.health()) {
            (Some(reason), _) => Health::Failing(format!("Redis {reason}")),
            // Without a folder, what counts is on the server.
            (None, Health::InMemory) => Health::Good,
            (None, of_the_folder) => of_the_folder,
        }
    }

    fn shared_status(&self, deadline: Instant) -> SharedRecords<'_> {
        let accounts = self.accounts.lock().clone();
        let read = move |(key, account): (String, Arc<SharedAccount>)| async move {
            let own = account.status();
            let record = self.reader.read(&key, &own.member, self.timing.beat, deadline).await;
            let (record, record_missing) =
                record.map_or_else(|reason| (None, Some(reason)), |found| (Some(found), None));
            SharedStatus { account: account.name.clone(), own, record, record_missing }
        };
        Box::pin(join_all(accounts.into_iter().map(read)))
    }

    fn close(&self) -> Recorded<'_> {
        self.stopped.cancel();
        self.tasks.close();
        Box::pin(async {
            self.tasks.wait().await;
            Ok(())
        })
    }
}

/// Adds the limits of a route, or changes them.
fn set_limits(member: &mut Member, own: &LimitSpec, wider: &[LimitSpec], now: Instant) {
    let settings = |spec: &LimitSpec, alone| LimitSettings {
        threshold: spec.threshold,
        spare: if spec.after_loss == AfterLoss::AllButOne { 1 } else { 0 },
        alone,
    };
    member.set_limit(&own.key.limit, settings(own, true), now);
    for spec in wider {
        member.set_limit(&spec.key.limit, settings(spec, false), now);
    }
}

/// The slots of one route.
#[derive(Debug)]
struct SharedSlots {
    account: Arc<SharedAccount>,
    /// The route's own limit comes first.
    limits: Arc<[String]>,
    /// For each of the others, whether other routes count against it too.
    shared: Box<[bool]>,
    locks: Arc<Notify>,
}

impl SharedSlots {
    /// Changes the account, and tells its task if that is news.
    fn with_state<T>(&self, change: impl FnOnce(&mut AccountState) -> T) -> T {
        let mut state = self.account.state.lock();
        let result = change(&mut state);
        if state.member.has_news() {
            self.account.news.notify_one();
        }
        result
    }

    fn route(&self) -> &str {
        &self.limits[0]
    }
}

impl Slots for SharedSlots {
    fn take(&self, _now: Instant) -> Result<Grant, Denied> {
        self.with_state(|state| state.member.take(&self.limits, now()))
    }

    fn recorded(&self) -> Recorded<'_> {
        // The record has at least what this member holds.
        Box::pin(ready(Ok(())))
    }

    fn note(&self, grant: Grant, step: &Step, now: Instant) {
        self.with_state(|state| state.member.note(&self.limits, grant, step, now));
    }

    fn change(&self, own: &LimitSpec, wider: &[LimitSpec], _past: Option<&[Instant]>, now: Instant) {
        // The calls of other gateways are not known, so those of this one do not help.
        self.with_state(|state| set_limits(&mut state.member, own, wider, now));
        self.locks.notify_waiters();
    }

    fn lock(&self, retry_after: Option<Duration>, now: Instant) -> Option<LockHit> {
        let hit = self.with_state(|state| state.member.lock(self.route(), retry_after, now));
        self.locks.notify_waiters();
        hit
    }

    fn lift_lock(&self, now: Instant) -> bool {
        self.with_state(|state| state.member.lift_lock(self.route(), now))
    }

    fn locks(&self) -> &Notify {
        &self.locks
    }

    fn held_back(&self, grant: Grant) -> Option<Instant> {
        self.account.state.lock().member.held_back(self.route(), grant, now())
    }

    fn are_shared(&self) -> bool {
        true
    }

    fn asking_takes(&self) -> Duration {
        if self.account.state.lock().failure.is_none() { BEAT } else { Duration::ZERO }
    }

    fn is_failing(&self) -> bool {
        false
    }

    fn can_take(&self, now: Instant) -> bool {
        let mut state = self.account.state.lock();
        state.member.in_touch(super::account::now())
            && self
                .limits
                .iter()
                .all(|name| state.member.limits.get_mut(name).is_some_and(|limit| limit.window.check(now).is_ok()))
    }

    fn allowance(&self, now: Instant) -> Allowance {
        let mut state = self.account.state.lock();
        let mut quotas = self.limits.iter().map(|name| state.member.limits.get_mut(name).map(|limit| limit.quota(now)));
        let mut route = quotas.next().flatten();
        let mut daily = None;
        for (quota, shared) in quotas.zip(&self.shared) {
            match (quota, shared) {
                (Some(quota), true) => daily = Some(quota),
                (Some(quota), false) if route.is_none_or(|route| quota.is_tighter_than(&route)) => route = Some(quota),
                _ => {}
            }
        }
        Allowance { route: route.expect("`slots` adds each limit"), daily }
    }

    fn outlook(&self, monotonic: Instant) -> Outlook {
        let mut state = self.account.state.lock();
        let member = &mut state.member;
        let unreachable = !member.in_touch(now());
        let shut_until = |limit: &super::limit::Limit| member.shut_until(limit, monotonic);
        let untils: Vec<_> =
            self.limits.iter().map(|name| member.limits.get(name).map_or(monotonic, shut_until)).collect();
        let mut others = 0;
        let mut forecasts: Vec<(Forecast, bool)> = Vec::new();
        let shared = [false].iter().chain(&self.shared);
        for ((name, shut_until), shared) in self.limits.iter().zip(untils).zip(shared) {
            if let Some(limit) = member.limits.get_mut(name) {
                others = others.max(limit.waiting as usize);
                forecasts.push((limit.forecast(shut_until, monotonic), *shared));
            }
        }
        let own = member.limits.get(self.route()).map(|limit| &limit.window);
        let locked_until = own.and_then(|window| window.locked_until(monotonic));
        let unanswered = own.is_some_and(|window| window.is_unanswered());
        Outlook { now: monotonic, forecasts, locked_until, unanswered, unreachable, others }
    }
}
