//! One call to Zoho for any number of identical reads.
//!
//! The first read is the leader: a task makes its call and returns the outcome to the leader. The others are followers and
//! see how the call ended. The task continues without the leader; once the call has its slot, it continues without any
//! reader. A call that still queues is given up when no reader waits for it.

use std::{future::Future, hash::Hash, pin::pin, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};

use crate::{
    call::QueueStatus,
    middleware::single_flight::{Leader, SingleFlight},
};

/// The calls in progress, by key. `E` is what followers see of the outcome.
#[derive(Debug)]
pub(super) struct SharedCalls<K, E>(SingleFlight<K, Progress<E>>);

#[derive(Debug)]
enum Progress<E> {
    /// The call is in progress; the channel says whether it has left the queue.
    UnderWay(watch::Receiver<bool>),
    Ended(E),
}

/// A read's part in a call; dropping it leaves the call.
pub(super) enum Joined<E, O> {
    /// The read that started the call: the outcome, and its own follower, which counts as waiting.
    Leader(oneshot::Receiver<O>, Follower<E>),
    /// A later read.
    Follower(Follower<E>),
}

/// A read that waits for a call.
pub(super) struct Follower<E>(watch::Receiver<Progress<E>>);

/// How waiting for another read's call ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FollowResult<E> {
    /// The call ended.
    Ended(E),
    /// The call was given up or panicked.
    Broken,
    /// The follower's deadline for a slot has passed, and the call has none yet.
    NoSlot,
    /// The answer did not come within the time that the follower's own call would have had.
    TimedOut,
}

impl<K, E> SharedCalls<K, E>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    pub(super) fn new() -> Self {
        Self(SingleFlight::default())
    }

    /// Follows the call for `key`, or starts it.
    pub(super) fn join<O, F>(&self, key: K, make: impl FnOnce(QueueStatus) -> F) -> Joined<E, O>
    where
        O: Send + 'static,
        F: Future<Output = (E, O)> + Send + 'static,
    {
        let (queue_status, departed) = QueueStatus::watched();
        let mut own = None;
        let follower = self.0.join(key, Progress::UnderWay(departed.clone()), |leader| {
            let (sender, outcome) = oneshot::channel();
            own = Some(outcome);
            let call = make(queue_status);
            async move {
                let ended = {
                    let mut call = pin!(call);
                    tokio::select! {
                        ended = &mut call => Some(ended),
                        () = abandoned(&leader, departed) => None,
                    }
                };
                if let Some((ended, outcome)) = ended {
                    leader.finish(Progress::Ended(ended));
                    // The leader may have left.
                    let _ = sender.send(outcome);
                }
            }
        });
        let follower = Follower(follower);
        match own {
            Some(outcome) => Joined::Leader(outcome, follower),
            None => Joined::Follower(follower),
        }
    }
}

/// Resolves when no read waits for a call that still queues.
async fn abandoned<K: Eq + Hash, E>(leader: &Leader<K, Progress<E>>, mut departed: watch::Receiver<bool>) {
    loop {
        if departed.wait_for(|departed| !departed).await.is_err() {
            // The call is over, and with it the task.
            return std::future::pending().await;
        }
        tokio::select! {
            () = leader.unfollowed() => {}
            changed = departed.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return std::future::pending().await,
            },
        }
        if !*departed.borrow() {
            return;
        }
    }
}

impl<E: Clone> Follower<E> {
    /// Waits as long as for a call of its own: until `deadline` for the slot, and `timeout` longer for the answer.
    pub(super) async fn wait(mut self, deadline: Instant, timeout: Duration) -> FollowResult<E> {
        loop {
            let mut departed = match &*self.0.borrow_and_update() {
                Progress::Ended(ended) => return FollowResult::Ended(ended.clone()),
                Progress::UnderWay(departed) => departed.clone(),
            };
            let has_slot = *departed.borrow_and_update();
            let until = if has_slot { deadline + timeout } else { deadline };
            tokio::select! {
                biased;
                changed = self.0.changed() => if changed.is_err() {
                    return FollowResult::Broken;
                },
                Ok(()) = departed.changed() => {}
                () = sleep_until(until) => {
                    return if has_slot { FollowResult::TimedOut } else { FollowResult::NoSlot };
                }
            }
        }
    }
}
