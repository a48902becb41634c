//! Single flight: one task for all callers that want the same result at the same time.
//!
//! The first caller starts the task, the leader; all callers follow it through a watch channel. The leader continues when
//! the caller that started it leaves. [`SingleFlight`] owns the tasks: dropping it ends them.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// The tasks in progress, by key. `P` is the progress that a task reports to its followers.
#[derive(Debug)]
pub struct SingleFlight<K, P> {
    flights: Arc<Flights<K, P>>,
}

type Flights<K, P> = Mutex<HashMap<K, Flight<P>>>;

#[derive(Debug)]
struct Flight<P> {
    progress: Arc<watch::Sender<P>>,
    /// `None` until the task is spawned.
    task: Option<AbortOnDropHandle<()>>,
}

/// The task's side. Dropping it ends the flight: the next caller starts a new one, and followers see the channel close.
pub struct Leader<K: Eq + Hash, P> {
    key: K,
    progress: Arc<watch::Sender<P>>,
    flights: Weak<Flights<K, P>>,
}

impl<K, P> SingleFlight<K, P>
where
    K: Clone + Eq + Hash + Send + 'static,
    P: Send + Sync + 'static,
{
    /// Follows the task for `key`, if there is one.
    pub fn follow(&self, key: &K) -> Option<watch::Receiver<P>> {
        self.flights.lock().get(key).map(|flight| flight.progress.subscribe())
    }

    /// Follows the task for `key`, or starts `lead`, with `first` as its first progress.
    pub fn join<F>(&self, key: K, first: P, lead: impl FnOnce(Leader<K, P>) -> F) -> watch::Receiver<P>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&key) {
            return flight.progress.subscribe();
        }
        let (progress, follower) = watch::channel(first);
        let progress = Arc::new(progress);
        let leader =
            Leader { key: key.clone(), progress: Arc::clone(&progress), flights: Arc::downgrade(&self.flights) };
        flights.insert(key.clone(), Flight { progress: Arc::clone(&progress), task: None });
        // Without the lock, because dropping the leader takes it: a runtime that shuts down drops the task at once.
        drop(flights);
        let task = AbortOnDropHandle::new(tokio::spawn(lead(leader)));
        match self.flights.lock().get_mut(&key).filter(|flight| Arc::ptr_eq(&flight.progress, &progress)) {
            Some(flight) => flight.task = Some(task),
            None => drop(task.detach()),
        }
        follower
    }
}

impl<K, P> Default for SingleFlight<K, P> {
    fn default() -> Self {
        Self { flights: Arc::default() }
    }
}

impl<K: Eq + Hash, P> Leader<K, P> {
    /// Reports progress to the followers.
    pub fn tell(&self, progress: P) {
        self.progress.send_replace(progress);
    }

    /// Ends the flight, then reports the outcome to the followers.
    pub fn finish(self, outcome: P) {
        let progress = Arc::clone(&self.progress);
        drop(self);
        progress.send_replace(outcome);
    }

    /// Whether there are followers.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.progress.receiver_count() > 0
    }

    /// Resolves when there are no followers.
    pub async fn unfollowed(&self) {
        self.progress.closed().await;
    }
}

impl<K: Eq + Hash, P> Drop for Leader<K, P> {
    fn drop(&mut self) {
        let flight = self.flights.upgrade().and_then(|flights| flights.lock().remove(&self.key));
        // The task ends by itself.
        flight.and_then(|flight| flight.task).map(AbortOnDropHandle::detach);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SPAN: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_task_serves_all_callers_until_it_ends() {
        let flights = SingleFlight::default();
        let join = |number: u32| {
            flights.join("key", 0, async move |leader: Leader<_, _>| {
                tokio::time::sleep(SPAN).await;
                leader.finish(number);
            })
        };
        let mut followers = [join(1), join(2), flights.follow(&"key").unwrap()];
        for follower in &mut followers {
            follower.changed().await.unwrap();
            assert_eq!(*follower.borrow(), 1);
        }
        assert!(flights.follow(&"key").is_none());
        let mut next = join(3);
        next.changed().await.unwrap();
        assert_eq!(*next.borrow(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_continues_without_followers_until_its_owner_ends() {
        let flights = SingleFlight::default();
        let (ended, mut end) = watch::channel(());
        let lead = async move |leader: Leader<_, _>| {
            leader.unfollowed().await;
            assert!(!leader.is_followed());
            // Dropped with the task.
            let _ended = ended;
            std::future::pending().await
        };
        drop(flights.join("key", (), lead));
        tokio::time::sleep(SPAN).await;
        let mut follower = flights.follow(&"key").unwrap();
        drop(flights);
        assert!(end.changed().await.is_err());
        assert!(follower.changed().await.is_err());
    }

    #[tokio::test]
    async fn after_a_broken_task_the_next_caller_starts_another() {
        let flights = SingleFlight::default();
        let mut broken = flights.join("key", 0, async |leader: Leader<_, _>| drop(leader));
        assert!(broken.changed().await.is_err());
        let mut next = flights.join("key", 0, async |leader: Leader<_, _>| leader.finish(1));
        next.changed().await.unwrap();
        assert_eq!(*next.borrow(), 1);
    }
}
