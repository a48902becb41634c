//! One call to Zoho for any number of identical reads.
//!
//! The first of them is the leader: a task makes its call, and the outcome is the leader's. The others are followers and
//! learn how the call ended. The task goes on without the leader, and without anybody once the call has its slot. A call
//! that still queues, and that nobody waits for any more, is given up.

use std::{future::Future, hash::Hash, pin::pin, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};

use crate::{
    call::QueueStatus,
    middleware::single_flight::{Leader, SingleFlight},
};

/// The calls under way, by key. `E` is how a call ended.
#[derive(Debug)]
pub(super) struct SharedCalls<K, E>(SingleFlight<K, Progress<E>>);

#[derive(Debug)]
enum Progress<E> {
    /// Whether the call has left the queue.
    UnderWay(watch::Receiver<bool>),
    Ended(E),
}

/// A read's part in a call; dropping it is leaving.
pub(super) enum Joined<E, O> {
    /// The one whose call it is: what the call brings, and the leader's place among those who wait.
    Leader(oneshot::Receiver<O>, Follower<E>),
    /// One who came later.
    Follower(Follower<E>),
}

/// Counts as waiting for a call.
pub(super) struct Follower<E>(watch::Receiver<Progress<E>>);

/// How waiting for another's call ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Followed<E> {
    /// With the call.
    Ended(E),
    /// The call was given up or broke.
    Broken,
    /// The follower's wait for a slot is over, and the call has none yet.
    Unslotted,
    /// A call that got its slot at the last moment would have been answered by now.
    Overdue,
}

impl<K, E> SharedCalls<K, E>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    pub(super) fn new() -> Self {
        Self(SingleFlight::default())
    }

    /// Joins the call for `key`, or makes it.
    pub(super) fn join<O, F>(&self, key: K, make: impl FnOnce(QueueStatus) -> F) -> Joined<E, O>
    where
        O: Send + 'static,
        F: Future<Output = (E, O)> + Send + 'static,
    {
        let (queue_status, departed) = QueueStatus::watched();
        let mut own = None;
        let follower = self.0.join(key, Progress::UnderWay(departed.clone()), |leader| {
            let (bring, outcome) = oneshot::channel();
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
                    // A leader who left wants nothing.
                    let _ = bring.send(outcome);
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

/// Resolves when nobody waits for a call that still queues.
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
    /// Waits for the call: until `deadline` for its slot, and `timeout` longer for its answer, as one's own call would
    /// have waited.
    pub(super) async fn wait(mut self, deadline: Instant, timeout: Duration) -> Followed<E> {
        loop {
            let mut departed = match &*self.0.borrow_and_update() {
                Progress::Ended(ended) => return Followed::Ended(ended.clone()),
                Progress::UnderWay(departed) => departed.clone(),
            };
            let has_slot = *departed.borrow_and_update();
            let until = if has_slot { deadline + timeout } else { deadline };
            tokio::select! {
                biased;
                changed = self.0.changed() => if changed.is_err() {
                    return Followed::Broken;
                },
                Ok(()) = departed.changed() => {}
                () = sleep_until(until) => {
                    return if has_slot { Followed::Overdue } else { Followed::Unslotted };
                }
            }
        }
    }
}
