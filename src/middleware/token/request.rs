//! One token request for everybody who waits for a token: attempts until one says something.

use std::{future::Future, time::Duration};

use aws_lc_rs::rand;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::{call::Token, middleware::single_flight::Leader, os::clock, problem::Cause, upstream::Failure};

/// Between two attempts at an accounts server that cannot be reached: first this long, then each time twice as long, and
/// each time up to as long again. Nothing was sent, so attempts cost no request.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// How long a caller waits for the first attempt, whatever its deadline for a slot: a token takes a moment, and without
/// one no call is sent. The request itself goes on until `upstream.timeout`.
const FIRST_ATTEMPT: Duration = Duration::from_secs(5);

/// A caller with a longer wait than this is refused all the same: a server that was unreachable for so long stays so.
const LONGEST_HOPE: Duration = Duration::from_secs(10);

/// How far the request is.
#[derive(Debug, Clone)]
pub(super) enum Progress {
    /// Its first attempt is under way.
    Started,
    /// An attempt did not reach the accounts server, or got no usable answer; another follows if somebody waits for it.
    Delayed(Cause),
    /// It has ended.
    Ended(Result<Token, Cause>),
}

/// What one attempt brought, and until when no other one is made.
pub(super) struct Attempt {
    pub(super) outcome: Result<Token, Cause>,
    pub(super) pause_end: Instant,
}

/// Attempts until the accounts server was reached and gave an answer, or nobody waits any more.
pub(super) async fn run<F>(leader: Leader<(), Progress>, attempt: impl Fn() -> F)
where
    F: Future<Output = Attempt>,
{
    let mut retry = FIRST_RETRY;
    loop {
        let Attempt { outcome, pause_end } = attempt().await;
        match outcome {
            Err(cause @ Cause::UpstreamUnreachable(_)) if leader.is_followed() => {
                leader.tell(Progress::Delayed(cause));
                tokio::time::sleep(retry + jitter(retry)).await;
                retry = (retry * 2).min(LONGEST_RETRY);
            }
            // This one cost a request, so the next comes after the source's pause, and only for somebody.
            Err(cause @ Cause::UpstreamInvalidResponse(_)) if leader.is_followed() && is_near(pause_end) => {
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

/// Whether somebody may still wait at that moment.
fn is_near(moment: Instant) -> bool {
    moment <= clock::now() + LONGEST_HOPE
}

/// The outcome of the request. Waits for the first attempt for a moment or until `deadline`, and for further ones until
/// `deadline` or a little less. `None` when the request was broken off.
pub(super) async fn outcome(
    mut request: watch::Receiver<Progress>,
    deadline: Instant,
    server: &str,
) -> Option<Result<Token, Cause>> {
    let first = deadline.max(clock::now() + FIRST_ATTEMPT);
    let deadline = deadline.min(clock::now() + LONGEST_HOPE);
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
    // Without randomness everybody comes at once, which is no error.
    let _ = rand::fill(&mut random);
    span.mul_f64(f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX))
}
