//! The adapter of the port for several processes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    account::SharedAccount,
    link::Link,
    member::Member,
    message::Message,
    shared_slots::SharedSlots,
    status::SharedStatus,
    timing::{BEAT, Timing},
    view::Reader,
};
use crate::{
    ledger::{
        Backend, Caller, Health, Journal, Key, LimitSpec, NO_ANSWER_GRACE, Slots,
        slots::{Recorded, SharedRecords, WaitingCalls},
    },
    os::clock,
    redis::{self, Redis, Script},
};

/// The one script of the shared ledger.
const EXCHANGE: &str = include_str!("exchange.lua");

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
    fn slots(
        &self,
        own: LimitSpec,
        wider: Vec<LimitSpec>,
        callers: &[(Caller, u32)],
        calls: Weak<dyn WaitingCalls>,
    ) -> Box<dyn Slots> {
        Box::new(SharedSlots::new(self.account(&own.key.account), &own, &wider, callers, calls))
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
