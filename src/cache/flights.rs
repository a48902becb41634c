//! One call to Zoho for any number of identical reads.

use std::{collections::HashMap, future::Future, hash::Hash, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

/// The calls under way, by key.
#[derive(Debug)]
pub(super) struct Flights<K, V> {
    under_way: Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>,
}

/// Takes a flight off the list when it ends, however it ends.
struct Landing<K: Eq + Hash, V> {
    key: K,
    under_way: Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.key);
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new() -> Self {
        Self { under_way: Arc::default() }
    }

    /// What the flight for `key` brings: of the one under way, or of `fly`, which then runs as a task of its own, so
    /// that it does not end with the caller who started it. `None` when it broke.
    pub(super) async fn join<F>(&self, key: K, fly: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flight = {
            let mut under_way = self.under_way.lock();
            match under_way.get(&key) {
                Some(flight) => flight.clone(),
                None => {
                    let (arrive, flight) = watch::channel(None);
                    under_way.insert(key.clone(), flight.clone());
                    let landing = Landing { key, under_way: Arc::clone(&self.under_way) };
                    let flying = fly();
                    tokio::spawn(async move {
                        let landing = landing;
                        let brought = flying.await;
                        drop(landing);
                        arrive.send_replace(Some(brought));
                    });
                    flight
                }
            }
        };
        flight.wait_for(Option::is_some).await.ok().and_then(|brought| brought.clone())
    }
}
