//! A merged call: it is sent, its answer is divided, and after a rejection its halves are sent.

use std::{collections::HashSet, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::future::{join, join_all};
use http::{Response, response::Parts};
use http_body_util::{BodyExt, Limited};
use tokio_util::task::AbortOnDropHandle;
use tower::Service as _;

use super::{
    divide::{self, Numbers},
    groups::Groups,
    parts::{MergedCall, OneCall, Outcome, Part, PartChannel, merge_logs},
    similar::{Composed, Key},
};
use crate::{
    call::{Answer, Call, CallContext, MergedInto, Permitted, RetryReason, request_id::RequestId},
    message::body::Body,
    middleware::layer::Inner,
    os::clock,
    problem::{Cause, Refusal, respond},
    upstream::Failure,
    zoho::reply,
};

/// The longest answer that is divided: a kibibyte for each of the most numbers, four times over.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;

/// The fields about the bytes of an answer, which are others in its parts.
const ABOUT_BYTES: [&str; 8] =
    ["accept-ranges", "content-digest", "content-length", "content-md5", "digest", "etag", "repr-digest", "trailer"];

/// Sends it with the leader's slot. Returns the leader's part; the others get theirs.
pub(super) fn send<S: Inner<Permitted, Answer>>(
    groups: Arc<Groups>,
    merged: MergedCall,
    permitted: Permitted,
    mut inner: S,
) -> Part {
    let MergedCall { key, calls, logs, parts } = merged;
    let task = tokio::spawn(async move {
        let outcome = match compose(&key, &calls) {
            Some(composed) => inner.call(permitted.composed(composed.target, composed.headers, composed.payload)).await,
            None => Err(Cause::Internal.into()),
        };
        drop(logs);
        settle(groups, key, calls, outcome).await;
    });
    let task = Arc::new(AbortOnDropHandle::new(task));
    let part = |PartChannel { to, outcome }| (to, Part::new(outcome, Arc::clone(&task)));
    let mut parts = parts.into_iter().map(part);
    let (_, leader) = parts.next().expect("a merged call has a leader");
    for (to, part) in parts {
        // A caller that has just left does not take its part.
        let _ = to.send(part);
    }
    leader
}

/// Gives each call its part of the outcome, or sends the halves if Zoho rejects the payload.
async fn settle(groups: Arc<Groups>, key: Key, calls: Vec<OneCall>, outcome: Outcome) {
    let id = calls[0].call.request_id.clone();
    let whole = match outcome {
        // A single call gets its answer as it is.
        outcome if calls.len() == 1 => {
            calls.into_iter().zip([outcome]).for_each(|(one, outcome)| one.gets(outcome));
            return;
        }
        Ok(answer) => Whole::read(answer, &calls[0].call.context).await,
        Err(refusal) => Err(refusal),
    };
    let whole = match whole {
        Ok(whole) => whole,
        Err(refusal) => return calls.into_iter().for_each(|one| one.gets(Err(refusal.clone()))),
    };
    if whole.is_rejected() {
        let status = whole.parts.status;
        tracing::info!(request_id = id.as_str(), calls = calls.len(), status = status.as_u16(), "splits a merged call");
        if reply::is_too_long(status) {
            groups.too_many(key.route(), distinct(&calls).len());
        }
        let mut calls = calls;
        let others = calls.split_off(calls.len().div_ceil(2));
        join(resend(Arc::clone(&groups), key.clone(), calls), resend(groups, key, others)).await;
        return;
    }
    let numbers: HashSet<String> = distinct(&calls).into_iter().map(str::to_owned).collect();
    let all = numbers.iter().map(String::as_str).collect();
    for one in calls {
        let own = one.numbers.iter().map(String::as_str).collect();
        let part = whole.part(Numbers { all: &all, own: &own }, &id);
        one.gets(Ok(part));
    }
}

/// Sends a part of a rejected call again, before new calls. Its callers gave their places up, so it waits a window longer
/// than they would.
fn resend(groups: Arc<Groups>, key: Key, mut calls: Vec<OneCall>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        calls.retain(|one| !one.has_left());
        if calls.is_empty() {
            return;
        }
        let logs = match &*calls {
            [single] => {
                single.call.attempt_log.sent_alone();
                None
            }
            _ => Some(merge_logs(&calls)),
        };
        let outcome = match call_of(&key, &calls) {
            Some(call) => {
                let sent = calls[0].service.call(call);
                tokio::select! {
                    biased;
                    // Without a caller it leaves the queue.
                    () = all_left(&mut calls) => return,
                    outcome = sent => outcome,
                }
            }
            None => Err(Cause::Internal.into()),
        };
        drop(logs);
        settle(groups, key, calls, outcome).await;
    })
}

/// Resolves when no caller waits any more.
async fn all_left(calls: &mut [OneCall]) {
    join_all(calls.iter_mut().map(|one| one.outcome.closed())).await;
}

/// The second attempt of these calls together.
fn call_of(key: &Key, calls: &[OneCall]) -> Option<Call> {
    let mut call = calls[0].call.again()?.requeued();
    let window = call.context.route.threshold.map(|threshold| threshold.window).unwrap_or_default();
    let deadlines = calls.iter().map(|one| one.call.deadline);
    call.deadline = deadlines.max()?.max(clock::now() + 2 * window);
    match calls {
        [_] => Some(call),
        _ => compose(key, calls).map(|composed| call.composed(composed.target, composed.headers, composed.payload)),
    }
}

fn compose(key: &Key, calls: &[OneCall]) -> Option<Composed> {
    key.compose(&calls[0].call, distinct(calls).into_iter())
}

/// Each number once, in the order of the calls.
fn distinct(calls: &[OneCall]) -> Vec<&str> {
    let mut seen = HashSet::new();
    let numbers = calls.iter().flat_map(|one| &one.numbers).map(String::as_str);
    numbers.filter(|number| seen.insert(*number)).collect()
}

/// A whole answer to a merged call.
struct Whole {
    parts: Parts,
    body: Bytes,
    retry: Option<RetryReason>,
}

impl Whole {
    async fn read(answer: Answer, context: &CallContext) -> Result<Self, Refusal> {
        let (mut parts, body) = answer.response.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(|error| {
            let endpoint = context.account.endpoints.product(context.route.product);
            let server = endpoint.authority().as_str();
            Refusal::from(Failure::invalid(server, "http_response_incomplete", error.to_string()).cause).of(context)
        })?;
        for name in ABOUT_BYTES {
            parts.headers.remove(name);
        }
        Ok(Self { parts, body: body.to_bytes(), retry: answer.retry })
    }

    /// Whether Zoho rejects the payload and executed nothing, so that a part may be accepted.
    fn is_rejected(&self) -> bool {
        self.retry.is_none() && reply::rejects_payload(self.parts.status, &self.body)
    }

    /// The answer for the caller of these numbers. What is not JSON goes to every caller as a whole.
    fn part(&self, numbers: Numbers<'_>, id: &RequestId) -> Answer {
        let body = divide::part(&self.body, numbers).map_or_else(|| self.body.clone(), Bytes::from);
        let mut response = Response::new(Body::full(body));
        *response.status_mut() = self.parts.status;
        *response.headers_mut() = self.parts.headers.clone();
        respond::mark_as_merged(response.headers_mut());
        response.extensions_mut().insert(MergedInto(id.clone()));
        Answer { response, retry: self.retry.clone() }
    }
}
