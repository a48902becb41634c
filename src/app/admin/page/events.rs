//! `/events`: the status as server-sent events, one each second, for the live page.
//!
//! An event has the windows that matter most, so that it stays small with any number of routes and accounts. Several
//! browsers share one look at the limiters, and without a browser there is none.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};

use crate::{
    app::admin::{
        Admin, answer,
        status::page::{Bucket, PostMortem, StatusPage, WaitingCaller},
        text,
    },
    message::body::Body,
    os::clock,
};

/// The time between two events.
const EVERY: Duration = Duration::from_secs(1);

/// How many browsers may watch: each costs a look at its windows and some kilobytes a second.
const STREAMS: usize = 16;

/// How long a browser may take to read an event.
const STALLED: Duration = Duration::from_secs(30);

/// How many windows an event has, and how many callers each of them.
const WINDOWS: usize = 100;
const CALLERS: usize = 20;

/// The browsers that watch, and the page that they share.
#[derive(Debug)]
pub struct Streams {
    free: Arc<Semaphore>,
    latest: Mutex<Option<(Instant, Arc<StatusPage>)>>,
}

/// Which windows a browser wants.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter {
    /// Also those in which nothing happens.
    all: bool,
    /// A part of the account, the route or a caller, in lower case.
    search: String,
}

/// What a browser gets.
#[derive(Debug, Serialize)]
struct Event {
    #[serde(flatten)]
    page: StatusPage,
    /// How many windows there are, and how many of them match the filter; `buckets` has the first of those.
    windows: usize,
    matching: usize,
}

impl Default for Streams {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(STREAMS)), latest: Mutex::default() }
    }
}

impl Admin {
    /// Starts a stream, if not too many are open.
    pub(in crate::app::admin) fn events(&self, request: &Parts) -> Response<Body> {
        let Ok(permit) = Arc::clone(&self.streams.free).try_acquire_owned() else {
            let words = format!("{STREAMS} pages are open already\n");
            let mut response = text(StatusCode::SERVICE_UNAVAILABLE, &words);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            return response;
        };
        let (sender, pieces) = mpsc::channel(1);
        let filter = Filter::parse(request.uri.query().unwrap_or_default());
        tokio::spawn(self.clone().stream(filter, sender, permit));
        let head = answer(StatusCode::OK, "text/event-stream", String::new());
        head.map(|_| Body::sent_by_task(pieces))
    }

    /// Sends an event each second until the browser leaves or the gateway stops.
    async fn stream(self, filter: Filter, sender: mpsc::Sender<Bytes>, _permit: OwnedSemaphorePermit) {
        let events = async {
            loop {
                let event = Event::of(&*self.latest().await, &filter);
                let Ok(json) = serde_json::to_string(&event) else { return };
                if sender.send_timeout(format!("data: {json}\n\n").into(), STALLED).await.is_err() {
                    return;
                }
                tokio::time::sleep(EVERY).await;
            }
        };
        tokio::select! {
            () = events => {}
            () = sender.closed() => {}
            () = self.shutdown.draining() => {}
        }
    }

    /// The status, unless another stream has asked for it within this second.
    async fn latest(&self) -> Arc<StatusPage> {
        let mut latest = self.streams.latest.lock().await;
        if let Some((at, page)) = &*latest
            && clock::now() < *at + EVERY / 2
        {
            return Arc::clone(page);
        }
        let page = Arc::new(self.status().await);
        *latest = Some((clock::now(), Arc::clone(&page)));
        page
    }
}

impl Filter {
    fn parse(query: &str) -> Self {
        let value = |wanted: &str| {
            let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.replace('+', " "))
        };
        let decoded = |text: String| percent_decode_str(&text).decode_utf8_lossy().trim().to_lowercase();
        Self { all: value("all").is_some(), search: value("search").map(decoded).unwrap_or_default() }
    }

    fn admits(&self, bucket: &Bucket) -> bool {
        let found = |text: &str| text.to_lowercase().contains(&self.search);
        let has_caller = || bucket.callers.iter().any(|one| found(&one.caller));
        (self.all || is_active(bucket))
            && (self.search.is_empty() || found(&bucket.route) || found(&bucket.account) || has_caller())
    }
}

/// Whether something happens in a window.
fn is_active(bucket: &Bucket) -> bool {
    bucket.waiting > 0 || bucket.booked > 0 || bucket.lock.is_some() || bucket.threshold.used > 0
}

impl Event {
    fn of(page: &StatusPage, filter: &Filter) -> Self {
        let mut matching: Vec<&Bucket> = page.buckets.iter().filter(|bucket| filter.admits(bucket)).collect();
        // Stable, so windows of equal importance stay in the order of their names.
        matching.sort_by_key(|bucket| {
            let used = u64::from(bucket.threshold.used) * 100 / u64::from(bucket.threshold.requests.max(1));
            Reverse((bucket.lock.is_some(), bucket.waiting, bucket.booked, used))
        });
        let shown = matching.iter().take(WINDOWS).map(|bucket| {
            // The page does not show the calls one by one.
            let callers = bucket.callers.iter().take(CALLERS);
            let callers = callers.map(|caller| WaitingCaller { request_ids: Vec::new(), ..caller.clone() }).collect();
            Bucket { callers, ..(*bucket).clone() }
        });
        Self {
            page: StatusPage {
                at: page.at.clone(),
                gateway: page.gateway.clone(),
                ready: page.ready,
                checks: page.checks.clone(),
                state: page.state.clone(),
                waiting: page.waiting,
                buckets: shown.collect(),
                accounts: page.accounts.clone(),
                callers: page.callers.iter().filter(|caller| caller.waiting + caller.booked > 0).cloned().collect(),
                jobs: page.jobs.clone(),
                paused: page.paused.clone(),
                refusals: page.refusals.clone(),
                last_lock: page.last_lock.clone().map(|lock| PostMortem { calls: Vec::new(), ..lock }),
                incidents: Vec::new(),
                shared: page.shared.clone(),
                reload: page.reload.clone(),
            },
            windows: page.buckets.len(),
            matching: matching.len(),
        }
    }
}

#[cfg(test)]
mod tests;
