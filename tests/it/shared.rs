//! Several gateways on one login, which share its limits through Redis. The sandbox counts what arrives from all of them.

mod caches;
mod callers;
mod clusters;
mod deaths;
mod failovers;
mod job_failovers;
mod job_kills;
mod job_script;
mod jobs;
mod limits;
mod locks;
mod losses;
mod outages;
mod replicas;
mod starts;
mod status;
mod tokens;
mod usage;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::task::JoinHandle;

use crate::support::{Answer, COURSE, Call, Gateway, RedisServer, SHARE, Sandbox, Setup, put, until};

const ROUTE: &str = "people.lms.share-course";
const API: &str = "PUT /api/v1/courses/{id}/share";
const REQUESTS: u64 = 9;
const WINDOW: &str = "1s";

/// A sandbox whose lock would outlast each test.
fn sandbox() -> Sandbox {
    Sandbox::start(&[
        "--requests",
        "9",
        "--window",
        WINDOW,
        "--lock",
        "60s",
        "--delay",
        "50ms",
        "--token-requests",
        "99",
    ])
}

/// One of several gateways, whose record is empty because nothing was ever sent.
fn shared(zoho: &Sandbox, redis: &RedisServer) -> Setup {
    sharing(Gateway::before(zoho), redis)
}

/// Its times are as short as possible: a gateway without touch is gone after twelve seconds.
fn sharing(setup: Setup, redis: &RedisServer) -> Setup {
    setup
        .route(ROUTE, "requests", REQUESTS)
        .route(ROUTE, "window", WINDOW)
        .set("upstream.timeout", "1s")
        .set("state.redis", redis.url())
        .set("state.lease", "1s")
        .set("state.when_empty", "fresh")
}

fn share() -> Call {
    put(COURSE).form(SHARE).header("prefer", "wait=20")
}

/// The same for a caller that does not wait.
fn share_now() -> Call {
    put(COURSE).form(SHARE).header("prefer", "wait=0")
}

/// How many calls Zoho has accepted.
async fn accepted(zoho: &Sandbox) -> u64 {
    zoho.tally(API).await.accepted
}

/// Resolves when Zoho has accepted so many calls more.
async fn until_accepted(zoho: &Sandbox, more: u64) {
    let before = accepted(zoho).await;
    until(format!("{more} more calls are accepted"), async || accepted(zoho).await >= before + more).await;
}

/// Checks that Zoho saw the threshold kept, by all gateways together.
async fn was_kept(zoho: &Sandbox) {
    let tally = zoho.tally(API).await;
    assert_eq!((tally.locks, tally.arrivals_during_lock), (0, 0), "{tally:?}");
    assert!(tally.most_in_any_window <= REQUESTS as usize, "{tally:?}");
}

/// How many slots a gateway holds that are not in use.
async fn idle(gateway: &Gateway) -> u64 {
    let status = gateway.admin("/status").await.json();
    let mut buckets = status["buckets"].as_array().into_iter().flatten();
    let bucket = buckets.find(|bucket| bucket["route"] == ROUTE);
    bucket.and_then(|bucket| bucket["threshold"]["remaining"].as_u64()).unwrap_or_default()
}

/// Resolves when the gateways hold so many slots that are not in use.
async fn until_idle(gateways: &[Gateway], slots: u64) {
    until(format!("{slots} slots are idle"), async || {
        let mut sum = 0;
        for gateway in gateways {
            sum += idle(gateway).await;
        }
        sum == slots
    })
    .await;
}

/// Callers of one gateway that send one call after another.
struct Load {
    ends: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Vec<Option<Answer>>>>,
}

impl Load {
    fn on(gateway: &Gateway, callers: usize) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let caller = |_| tokio::spawn(Self::calls(gateway.address().to_owned(), Arc::clone(&ends)));
        Self { callers: (0..callers).map(caller).collect(), ends }
    }

    /// The same for each of these gateways.
    fn on_each(gateways: &[Gateway], callers: usize) -> Vec<Self> {
        gateways.iter().map(|gateway| Self::on(gateway, callers)).collect()
    }

    /// A call of a gateway that ends may have no answer, and is the last one.
    async fn calls(address: String, ends: Arc<AtomicBool>) -> Vec<Option<Answer>> {
        let (mut answers, share) = (Vec::new(), share());
        while !ends.load(Ordering::Relaxed) && !answers.last().is_some_and(Option::is_none) {
            answers.push(share.attempt(&address).await);
        }
        answers
    }

    /// Resolves when each caller has its last answer.
    async fn end(self) -> Vec<Option<Answer>> {
        self.ends.store(true, Ordering::Relaxed);
        let mut answers = Vec::new();
        for caller in self.callers {
            answers.extend(caller.await.expect("no caller panics"));
        }
        answers
    }
}

/// Ends the load, in which every call must have succeeded.
async fn all_succeed(loads: Vec<Load>) {
    loads.iter().for_each(|load| load.ends.store(true, Ordering::Relaxed));
    for load in loads {
        for answer in load.end().await {
            answer.expect("an answer").is_zohos(200);
        }
    }
}
