//! One call to Zoho for any number of identical reads.
//!
//! The first of them is the pilot: its call is made by a task of its own, and whatever it brings is the pilot's. The
//! others are passengers and learn how it landed. The task goes on without the pilot, and without anybody once the call
//! has its slot; only a call that still queues, and that nobody waits for any more, is given up.

use std::{collections::HashMap, future::Future, hash::Hash, pin::pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};

use crate::call::QueueStatus;

/// The calls under way, by key. `L` is how a flight landed.
#[derive(Debug)]
pub(super) struct Flights<K, L> {
    under_way: Arc<Mutex<HashMap<K, Board<L>>>>,
}

/// What is known of a flight while it is under way.
#[derive(Debug, Clone)]
struct Board<L> {
    /// Its receivers are those who wait for it.
    landed: Arc<watch::Sender<Option<L>>>,
    departed: watch::Receiver<bool>,
}

/// Somebody's part in a flight; dropping it is leaving.
pub(super) enum Boarded<L, O> {
    Pilot(Pilot<L, O>),
    Passenger(Passenger<L>),
}

/// The one whose call it is.
pub(super) struct Pilot<L, O> {
    own: oneshot::Receiver<O>,
    /// So that he is counted among those who wait.
    _landed: watch::Receiver<Option<L>>,
}

/// One who came later.
pub(super) struct Passenger<L> {
    landed: watch::Receiver<Option<L>>,
    departed: watch::Receiver<bool>,
}

/// How waiting for somebody else's flight ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ride<L> {
    /// With the flight.
    Landed(L),
    /// The flight was given up or broke.
    Broken,
    /// The passenger's wait for a slot is over, and the flight has none yet.
    Unslotted,
    /// A call that got its slot at the last moment would have been answered by now.
    Overdue,
}

impl<K, L> Flights<K, L>
where
    K: Clone + Eq + Hash + Send + 'static,
    L: Clone + Send + Sync + 'static,
{
    pub(super) fn new() -> Self {
        Self { under_way: Arc::default() }
    }

    /// Joins the flight for `key`, or starts one.
    pub(super) fn board<O, F>(&self, key: K, fly: impl FnOnce(QueueStatus) -> F) -> Boarded<L, O>
    where
        O: Send + 'static,
        F: Future<Output = (L, O)> + Send + 'static,
    {
        let mut under_way = self.under_way.lock();
        if let Some(Board { landed, departed }) = under_way.get(&key) {
            return Boarded::Passenger(Passenger { landed: landed.subscribe(), departed: departed.clone() });
        }
        let (queue_status, departed) = QueueStatus::watched();
        let (landed, waiting) = watch::channel(None);
        let board = Board { landed: Arc::new(landed), departed };
        let (bring, own) = oneshot::channel();
        under_way.insert(key.clone(), board.clone());
        let landing = Landing { key, under_way: Arc::clone(&self.under_way) };
        let flying = fly(queue_status);
        tokio::spawn(async move {
            let landing = landing;
            let brought = {
                let mut flying = pin!(flying);
                tokio::select! {
                    brought = &mut flying => Some(brought),
                    () = board.abandoned() => None,
                }
            };
            // Who comes from here on starts anew; those on board hear below.
            drop(landing);
            if let Some((landed, outcome)) = brought {
                // A pilot who left wants nothing.
                let _ = bring.send(outcome);
                board.landed.send_replace(Some(landed));
            }
        });
        Boarded::Pilot(Pilot { own, _landed: waiting })
    }
}

impl<L> Board<L> {
    /// Resolves when nobody waits for a flight that still queues.
    async fn abandoned(&self) {
        let mut departed = self.departed.clone();
        loop {
            if departed.wait_for(|departed| !departed).await.is_err() {
                // The call is over, and with it the flight.
                return std::future::pending().await;
            }
            tokio::select! {
                () = self.landed.closed() => {}
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
}

impl<L, O> Pilot<L, O> {
    /// What the flight brought. `None` when it broke.
    pub(super) async fn arrive(self) -> Option<O> {
        self.own.await.ok()
    }
}

impl<L: Clone> Passenger<L> {
    /// Waits for the flight: until `deadline` for its slot, and `timeout` longer for its answer, as one's own call would
    /// have waited.
    pub(super) async fn ride(self, deadline: Instant, timeout: Duration) -> Ride<L> {
        let Self { mut landed, mut departed } = self;
        loop {
            let has_slot = *departed.borrow_and_update();
            let until = if has_slot { deadline + timeout } else { deadline };
            tokio::select! {
                biased;
                landed = landed.wait_for(Option::is_some) => {
                    return landed.ok().and_then(|landed| landed.clone()).map_or(Ride::Broken, Ride::Landed);
                }
                Ok(()) = departed.changed() => {}
                () = sleep_until(until) => return if has_slot { Ride::Overdue } else { Ride::Unslotted },
            }
        }
    }
}

/// Takes a flight off the list when it ends, however it ends.
struct Landing<K: Eq + Hash, L> {
    key: K,
    under_way: Arc<Mutex<HashMap<K, Board<L>>>>,
}

impl<K: Eq + Hash, L> Drop for Landing<K, L> {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.key);
    }
}
