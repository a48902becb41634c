//! The jobs of all gateways of a namespace, on Redis. `shared.lua` has the rules.
//!
//! Each gateway owns jobs, under a name that is new at each start. Each change states the owner and a number, so neither
//! a gateway that was cut off nor a late request changes what another one has taken over.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    ALL_STATES, Change, Known, Put, Row, Unavailable,
    message::{
        Beat, BeatReply, Cancelled, Filter, ListReply, Listed, RowReply, arguments, encoded, hashed, ids, parsed,
    },
    writer::Written,
};
use crate::{
    middleware::jobs::{id::JobId, job::State},
    redis::{Redis, RunError, Script},
    secret::random,
};

/// How long the server may take to answer. With the retry it is less than what callers wait for a commit.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The time between attempts to make changes for which nobody waits.
const RETRY: Duration = Duration::from_millis(500);

/// The most changes of a script.
const BATCH: usize = 64;

/// For so long after a gateway was heard, no other one takes over its jobs: a lease of the script, and less because clocks
/// differ.
const IN_TOUCH: Duration = Duration::from_millis(4900);

/// The keys of the script.
const FURTHER_KEYS: &[&str] = &[
    ":records",
    ":requests",
    ":answers",
    ":names",
    ":until",
    ":owned",
    ":listed",
    ":heard",
    ":since",
    ":claimed",
    ":news",
    ":counts",
    ":server",
];

/// The jobs on Redis; clones share them.
#[derive(Debug, Clone)]
pub(in crate::middleware::jobs) struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    redis: Redis,
    script: Script,
    /// The name of this gateway as an owner.
    own: String,
    accounts: Vec<String>,
    numbers: AtomicU64,
    /// The account of each own job, which a removal does not name.
    account_of: Mutex<HashMap<JobId, String>>,
    /// By account: when the last beat began after which this gateway knew which jobs it owns.
    heard: Mutex<HashMap<String, Instant>>,
    requests: Mutex<Option<mpsc::UnboundedSender<Request>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Jobs that turned out to belong to another gateway, or to be removed.
    lost: mpsc::UnboundedSender<JobId>,
    failure: Mutex<Option<String>>,
}

/// One change, and who waits for it.
#[derive(Debug)]
struct Request {
    change: Change,
    number: u64,
    done: Option<oneshot::Sender<Result<(), Unavailable>>>,
}

impl Shared {
    /// Jobs of these accounts, and the jobs that this gateway no longer owns.
    pub(super) fn open(redis: Redis, accounts: Vec<String>) -> io::Result<(Self, mpsc::UnboundedReceiver<JobId>)> {
        let own = random::hex().map_err(io::Error::other)?.expose().to_owned();
        let (lost, lost_ids) = mpsc::unbounded_channel();
        let (requests, received) = mpsc::unbounded_channel();
        let shared = Self(Arc::new(Inner {
            redis,
            script: Script::new(include_str!("shared.lua")).with_further_keys(FURTHER_KEYS),
            own,
            accounts,
            numbers: AtomicU64::new(1),
            account_of: Mutex::default(),
            heard: Mutex::default(),
            requests: Mutex::new(Some(requests)),
            writer: Mutex::default(),
            lost,
            failure: Mutex::default(),
        }));
        *shared.0.writer.lock() = Some(tokio::spawn(shared.clone().write_all(received)));
        Ok((shared, lost_ids))
    }

    pub(super) fn write(&self, change: Change) -> Written {
        let (done, written) = oneshot::channel();
        self.send(change, Some(done));
        Written::new(written)
    }

    pub(super) fn write_later(&self, change: Change) {
        self.send(change, None);
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.0.failure.lock().clone()
    }

    pub(in crate::middleware::jobs) fn accounts(&self) -> &[String] {
        &self.0.accounts
    }

    /// Whether no other gateway can have taken over the jobs of this account.
    pub(in crate::middleware::jobs) fn is_in_touch(&self, account: &str) -> bool {
        self.0.heard.lock().get(account).is_some_and(|heard| heard.elapsed() < IN_TOUCH)
    }

    /// At this moment, the gateway owned what it has.
    pub(in crate::middleware::jobs) fn was_in_touch(&self, account: &str, at: Instant) {
        self.0.heard.lock().insert(account.to_owned(), at);
    }

    /// Says that this gateway lives, and takes over jobs of gateways that are gone. `known` are those of which it has heard.
    pub(in crate::middleware::jobs) async fn beat(&self, account: &str, known: &[JobId]) -> Result<Beat, Unavailable> {
        let known: Vec<_> = known.iter().map(JobId::to_string).collect();
        let arguments: Vec<_> = known.iter().map(String::as_str).collect();
        let reply: BeatReply = parsed(&self.run(account, "beat", &arguments).await?)?;
        let rows: Vec<_> = reply.rows.into_iter().filter_map(|row| row.of(account)).collect();
        let mut account_of = self.0.account_of.lock();
        rows.iter().for_each(|row| drop(account_of.insert(row.id, account.to_owned())));
        Ok(Beat { rows, removed: ids(&reply.removed), asked: ids(&reply.asked), epoch: reply.epoch })
    }

    /// The jobs that this gateway owns.
    pub(in crate::middleware::jobs) async fn owned(&self, account: &str) -> Result<HashSet<JobId>, Unavailable> {
        let owned = self.run(account, "owned", &[]).await?;
        Ok(owned.split_whitespace().filter_map(|id| id.parse().ok()).collect())
    }

    /// Makes a key the name of this job, unless it is that of another one, which is the result.
    pub(in crate::middleware::jobs) async fn reserve(
        &self,
        id: JobId,
        put: &Put,
        key: &str,
    ) -> Result<Option<JobId>, Unavailable> {
        let name = hashed(&[&put.caller, key]);
        let number = self.next_number().to_string();
        let arguments =
            [&id.to_string(), &number, &put.until.to_string(), &hashed(&[&put.caller]), &encoded(&put.record), &name];
        // If the answer is lost, the removal of the job removes the key too.
        self.0.account_of.lock().insert(id, put.account.clone());
        let other = self.run(&put.account, "reserve", &arguments.map(String::as_str)).await?;
        if other.is_empty() {
            return Ok(None);
        }
        other.parse().map(Some).map_err(|_| Unavailable)
    }

    /// A job of any gateway.
    pub(in crate::middleware::jobs) async fn show(&self, id: JobId) -> Result<Option<Row>, Unavailable> {
        for account in &self.0.accounts {
            let reply = self.run(account, "show", &[&id.to_string()]).await?;
            if !reply.is_empty() {
                return Ok(parsed::<RowReply>(&reply)?.of(account));
            }
        }
        Ok(None)
    }

    /// Jobs of all gateways, in the order of their ids.
    pub(in crate::middleware::jobs) async fn list(&self, filter: Filter<'_>) -> Result<Listed, Unavailable> {
        let mut listed = Listed::default();
        for account in &self.0.accounts {
            self.list_account(account, filter, &mut listed).await?;
        }
        listed.rows.sort_by_key(|row| row.id);
        listed.rows.truncate(filter.limit);
        Ok(listed)
    }

    /// Adds the jobs of an account. One script looks at a part of them.
    async fn list_account(&self, account: &str, filter: Filter<'_>, listed: &mut Listed) -> Result<(), Unavailable> {
        let caller = filter.caller.map(|caller| hashed(&[caller])).unwrap_or_default();
        let states = filter.state.map_or(ALL_STATES, |state| Known::Job(state).letter());
        let (mut after, mut found, mut is_first) = (filter.after.map(|id| id.to_string()), 0, true);
        loop {
            let limit = (filter.limit - found).to_string();
            let from = after.take().unwrap_or_default();
            let reply: ListReply = parsed(&self.run(account, "list", &[&caller, &from, &limit, states]).await?)?;
            for state in State::ALL.into_iter().filter(|_| is_first) {
                let count = reply.counts.get(Known::Job(state).letter()).copied().unwrap_or_default();
                *listed.counts.entry(state).or_default() += count;
            }
            is_first = false;
            found += reply.rows.len();
            listed.rows.extend(reply.rows.into_iter().filter_map(|row| row.of(account)));
            after = reply.after;
            if after.is_none() || found >= filter.limit {
                return Ok(());
            }
        }
    }

    /// Asks the owner of a call to make a job of it.
    pub(in crate::middleware::jobs) async fn ask(&self, account: &str, id: JobId) -> Result<(), Unavailable> {
        self.run(account, "ask", &[&id.to_string()]).await.map(drop)
    }

    /// Removes a job of another gateway from its queue.
    pub(in crate::middleware::jobs) async fn cancel(&self, account: &str, id: JobId) -> Result<Cancelled, Unavailable> {
        let run = self.run(account, "cancel", &[&id.to_string()]).await?;
        Ok(match run.as_str() {
            "ok" => Cancelled::Yes,
            "sent" => Cancelled::Sent,
            _ => Cancelled::Absent,
        })
    }

    pub(super) async fn answer(&self, account: &str, id: JobId) -> Result<Option<Vec<u8>>, Unavailable> {
        let answer = self.run(account, "answer", &[&id.to_string()]).await?;
        Ok(STANDARD.decode(answer).ok().filter(|answer| !answer.is_empty()))
    }

    /// Makes what changes are left, and leaves the jobs to other gateways.
    pub(super) async fn close(&self) {
        drop(self.0.requests.lock().take());
        let writer = self.0.writer.lock().take();
        if let Some(writer) = writer {
            let _ = timeout(2 * TIMEOUT, writer).await;
        }
        for account in &self.0.accounts {
            // Otherwise its lease ends.
            let _ = self.run(account, "leave", &[]).await;
        }
    }

    /// The writer gets the changes in the order of their numbers.
    fn send(&self, change: Change, done: Option<oneshot::Sender<Result<(), Unavailable>>>) {
        let requests = self.0.requests.lock();
        let number = self.next_number();
        if let Some(requests) = &*requests {
            let _ = requests.send(Request { change, number, done });
        }
    }

    fn next_number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed)
    }

    async fn write_all(self, mut received: mpsc::UnboundedReceiver<Request>) {
        let mut left: Vec<Request> = Vec::new();
        loop {
            let mut batch = std::mem::take(&mut left);
            let is_retry = !batch.is_empty();
            let received = received.recv_many(&mut batch, BATCH);
            let count = match is_retry {
                true => timeout(RETRY, received).await.unwrap_or(1),
                false => received.await,
            };
            if batch.is_empty() && count == 0 {
                return;
            }
            let mut by_account: BTreeMap<String, Vec<Request>> = BTreeMap::new();
            for request in batch {
                // What it has never owned needs no removal.
                let Some(account) = self.account(&request.change) else { continue };
                by_account.entry(account).or_default().push(request);
            }
            for (account, requests) in by_account {
                left.extend(self.commit(&account, requests).await);
            }
            if count == 0 {
                return;
            }
        }
    }

    fn account(&self, change: &Change) -> Option<String> {
        let mut account_of = self.0.account_of.lock();
        if let Some(put) = &change.put {
            account_of.insert(change.id, put.account.clone());
        }
        account_of.get(&change.id).cloned()
    }

    /// Returns what is to be tried again.
    async fn commit(&self, account: &str, requests: Vec<Request>) -> Vec<Request> {
        let arguments: Vec<_> =
            requests.iter().flat_map(|request| arguments(&request.change, request.number)).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let reply = self.run(account, "write", &arguments).await;
        let Ok(reply) = reply else {
            let (waited, later): (Vec<_>, Vec<_>) = requests.into_iter().partition(|request| request.done.is_some());
            // A caller that waits for its change decides what to do without it.
            waited.into_iter().filter_map(|request| request.done).for_each(|done| drop(done.send(Err(Unavailable))));
            return later;
        };
        for (request, result) in requests.into_iter().zip(reply.split(' ')) {
            let is_lost = result == "lost";
            if is_lost || request.change.put.is_none() {
                self.0.account_of.lock().remove(&request.change.id);
            }
            if is_lost {
                let _ = self.0.lost.send(request.change.id);
            }
            request.done.map(|done| done.send(if is_lost { Err(Unavailable) } else { Ok(()) }));
        }
        Vec::new()
    }

    async fn run(&self, account: &str, operation: &str, arguments: &[&str]) -> Result<String, Unavailable> {
        let Inner { redis, script, own, .. } = &*self.0;
        let key = format!("{}:{{{account}}}:jobs", redis.namespace());
        let arguments = [&[operation, own], arguments].concat();
        let outcome = redis.run_confirmed(script, &key, &arguments, TIMEOUT).await.and_then(|(reply, confirmed)| {
            let unconfirmed = || RunError::Unknown("too few replicas have it".to_owned());
            if confirmed { Ok(reply) } else { Err(unconfirmed()) }
        });
        self.tell(outcome.as_ref().err());
        outcome.map_err(|_| Unavailable)
    }

    /// Shows the state to operators, and logs when it changes.
    fn tell(&self, error: Option<&RunError>) {
        let mut shown = self.0.failure.lock();
        match (&*shown, error) {
            (None, Some(error)) => tracing::error!(%error, "the jobs on Redis cannot be used; no job is accepted"),
            (Some(_), None) => tracing::info!("the jobs on Redis can be used again"),
            _ => {}
        }
        *shown = error.map(ToString::to_string);
    }
}
