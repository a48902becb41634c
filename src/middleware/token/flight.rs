//! One flight for everybody who waits for a token: attempts until one says something.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::rand;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::source::{Landing, Source};
use crate::{call::Token, os::clock, problem::Cause, upstream::Failure};

/// Between two attempts at an accounts server that cannot be reached: first this long, then each time twice as long, and
/// each time up to as long again. Nothing was sent, so attempts cost no request.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// How long a caller waits for the first attempt, whatever it said of slots: a token takes a moment, and without one
/// nothing goes at all. The flight itself goes on until `upstream.timeout`.
const FIRST_ATTEMPT: Duration = Duration::from_secs(5);

/// A caller with a longer wait than this is told nevertheless: what could not be reached for so long is not about to be.
const LONGEST_HOPE: Duration = Duration::from_secs(10);

/// How far a flight is.
#[derive(Debug, Clone)]
pub(super) enum Progress {
    /// Its first attempt is under way.
    Flying,
    /// An attempt did not reach the accounts server, or got no usable answer; another follows if somebody waits for it.
    Delayed(Cause),
    /// It has ended.
    Landed(Result<Token, Cause>),
}

/// Tries until the accounts server was reached and gave an answer, or nobody waits any more.
pub(super) async fn fly(source: &Arc<Source>, progress: &watch::Sender<Progress>, landing: Landing<'_>) {
    let mut retry = FIRST_RETRY;
    loop {
        let outcome = source.fetch().await;
        match outcome {
            // One receiver is the source's own.
            Err(cause @ Cause::UpstreamUnreachable(_)) if progress.receiver_count() > 1 => {
                progress.send_replace(Progress::Delayed(cause));
                tokio::time::sleep(retry + jitter(retry)).await;
                retry = (retry * 2).min(LONGEST_RETRY);
            }
            // This one cost a request, so the next comes after the source's pause, and only for somebody.
            Err(cause @ Cause::UpstreamInvalidResponse(_))
                if progress.receiver_count() > 1 && is_near(source.pause_end()) =>
            {
                progress.send_replace(Progress::Delayed(cause.clone()));
                tokio::time::sleep_until(source.pause_end()).await;
                if progress.receiver_count() == 1 {
                    drop(landing);
                    progress.send_replace(Progress::Landed(Err(cause)));
                    return;
                }
            }
            outcome => {
                // Whoever comes from here on starts a flight of its own.
                drop(landing);
                progress.send_replace(Progress::Landed(outcome));
                return;
            }
        }
    }
}

/// Whether somebody may still wait at that moment.
fn is_near(moment: Instant) -> bool {
    moment <= clock::now() + LONGEST_HOPE
}

/// What a flight brings. Waits for the first attempt for a moment or until `deadline`, and for further ones until
/// `deadline` or a little less. `None` when the flight was broken off.
pub(super) async fn landing(
    mut flight: watch::Receiver<Progress>,
    deadline: Instant,
    server: &str,
) -> Option<Result<Token, Cause>> {
    let first = deadline.max(clock::now() + FIRST_ATTEMPT);
    let deadline = deadline.min(clock::now() + LONGEST_HOPE);
    loop {
        let now = flight.borrow_and_update().clone();
        match now {
            Progress::Landed(outcome) => return Some(outcome),
            Progress::Flying => match timeout_at(first, flight.changed()).await {
                Ok(changed) => changed.ok()?,
                Err(_) => return Some(Err(Failure::timeout(server).cause)),
            },
            Progress::Delayed(cause) => match timeout_at(deadline, flight.changed()).await {
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
