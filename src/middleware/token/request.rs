//! One token request for all callers that wait: repeats attempts until one gets an answer.

use std::{future::Future, time::Duration};

use aws_lc_rs::rand;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::{call::Token, middleware::single_flight::Leader, os::clock, problem::Cause, upstream::Failure};

/// The pause between two attempts while the accounts server is unreachable. It doubles each time, and a random part of up
/// to its own length is added. Nothing was sent, so attempts cost no request.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// How long a caller waits for the first attempt, even beyond its deadline for a slot: a token takes a moment, and without
/// it no call is sent. The request itself may take `upstream.timeout`.
const FIRST_ATTEMPT: Duration = Duration::from_secs(5);

/// The longest wait for further attempts: a server that was unreachable for so long is likely to stay so.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The progress of the request.
#[derive(Debug, Clone)]
pub(super) enum Progress {
    /// The first attempt is in progress.
    Started,
    /// An attempt got no usable answer; another follows while a caller waits.
    Delayed(Cause),
    /// The request has ended.
    Ended(Result<Token, Cause>),
}

/// The outcome of one attempt, and the time before which no other one is made.
pub(super) struct AttemptOutcome {
    pub(super) outcome: Result<Token, Cause>,
    pub(super) pause_end: Instant,
}

/// Repeats attempts until the accounts server answers or no caller waits.
pub(super) async fn run<F>(leader: Leader<(), Progress>, attempt: impl Fn() -> F)
where
    F: Future<Output = AttemptOutcome>,
{
    let mut retry = FIRST_RETRY;
    loop {
        let AttemptOutcome { outcome, pause_end } = attempt().await;
        match outcome {
            Err(cause @ Cause::UpstreamUnreachable(_)) if leader.is_followed() => {
                leader.tell(Progress::Delayed(cause));
                tokio::time::sleep(retry + jitter(retry)).await;
                retry = (retry * 2).min(LONGEST_RETRY);
            }
            // This attempt cost a request, so the next one waits for the source's pause, and for a caller.
            Err(cause @ Cause::UpstreamInvalidResponse(_)) if leader.is_followed() && is_soon(pause_end) => {
                leader.tell(Progress::Delayed(cause.clone()));
                tokio::time::sleep_until(pause_end).await;
                if !leader.is_followed() {
                    return leader.finish(Progress::Ended(Err(cause)));
                }
            }
            outcome => return leader.finish(Progress::Ended(outcome)),
        }
    }
}

/// Whether a caller may still wait at that moment.
fn is_soon(moment: Instant) -> bool {
    moment <= clock::now() + LONGEST_WAIT
}

/// Waits for the outcome of the request: for the first attempt until `deadline` or at least [`FIRST_ATTEMPT`], for further
/// ones until `deadline` or at most [`LONGEST_WAIT`]. `None` if the request was aborted.
pub(super) async fn outcome(
    mut request: watch::Receiver<Progress>,
    deadline: Instant,
    server: &str,
) -> Option<Result<Token, Cause>> {
    let first = deadline.max(clock::now() + FIRST_ATTEMPT);
    let deadline = deadline.min(clock::now() + LONGEST_WAIT);
    loop {
        let now = request.borrow_and_update().clone();
        match now {
            Progress::Ended(outcome) => return Some(outcome),
            Progress::Started => match timeout_at(first, request.changed()).await {
                Ok(changed) => changed.ok()?,
                Err(_) => return Some(Err(Failure::timeout(server).cause)),
            },
            Progress::Delayed(cause) => match timeout_at(deadline, request.changed()).await {
                Ok(changed) => changed.ok()?,
                Err(_) => return Some(Err(cause)),
            },
        }
    }
}

/// A random part of `span`.
pub(super) fn jitter(span: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness all come at once, which is acceptable.
    let _ = rand::fill(&mut random);
    span.mul_f64(f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX))
}
