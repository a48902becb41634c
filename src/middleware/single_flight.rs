//! Single flight: one task for all callers that want the same thing at the same time.
//!
//! The first caller starts the task, the leader; everybody follows it through a watch channel. The leader goes on when the
//! caller that started it leaves. The [`SingleFlight`] owns the tasks: when it is dropped, they end.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// The tasks under way, by key. `P` is what a task tells its followers.
#[derive(Debug)]
pub struct SingleFlight<K, P> {
    flights: Arc<Flights<K, P>>,
}

type Flights<K, P> = Mutex<HashMap<K, Flight<P>>>;

#[derive(Debug)]
struct Flight<P> {
    progress: Arc<watch::Sender<P>>,
    /// `None` until it is spawned.
    task: Option<AbortOnDropHandle<()>>,
}

/// The task's own side. The flight is over when it is dropped: who comes then starts another one, and followers that were
/// told nothing more see the channel closed.
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
    /// Follows the task under way for `key`, if there is one.
    pub fn follow(&self, key: &K) -> Option<watch::Receiver<P>> {
        self.flights.lock().get(key).map(|flight| flight.progress.subscribe())
    }

    /// Follows the task under way for `key`, or starts `lead`, whose followers read `first` at first.
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
        // Without the lock, which the leader takes when it is dropped: a runtime that shuts down drops it at once.
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
    /// Tells the followers how far the task is.
    pub fn tell(&self, progress: P) {
        self.progress.send_replace(progress);
    }

    /// Tells the followers the outcome. The flight is over before they read it.
    pub fn finish(self, outcome: P) {
        let progress = Arc::clone(&self.progress);
        drop(self);
        progress.send_replace(outcome);
    }

    /// Whether anybody follows.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.progress.receiver_count() > 0
    }

    /// Resolves when nobody follows any more.
    pub async fn unfollowed(&self) {
        self.progress.closed().await;
    }
}

impl<K: Eq + Hash, P> Drop for Leader<K, P> {
    fn drop(&mut self) {
        let flight = self.flights.upgrade().and_then(|flights| flights.lock().remove(&self.key));
        // The task is about to end by itself.
        flight.and_then(|flight| flight.task).map(AbortOnDropHandle::detach);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SPAN: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_task_serves_all_who_come_before_its_end() {
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
    async fn a_task_goes_on_without_followers_and_ends_with_its_owner() {
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
    async fn a_task_that_breaks_makes_way_for_the_next() {
        let flights = SingleFlight::default();
        let mut broken = flights.join("key", 0, async |leader: Leader<_, _>| drop(leader));
        assert!(broken.changed().await.is_err());
        let mut next = flights.join("key", 0, async |leader: Leader<_, _>| leader.finish(1));
        next.changed().await.unwrap();
        assert_eq!(*next.borrow(), 1);
    }
}
