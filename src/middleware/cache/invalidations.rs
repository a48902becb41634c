//! Tells the caches of other gateways which answers a write has made stale, and learns it from them (RFC 9111 section 4.4).
//!
//! A message may be lost while a connection is. So each new subscription makes all stored answers stale, and what cannot be
//! published is kept until it can.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::epochs::{Epochs, Invalidation, Resource};
use crate::{
    redis::{self, Redis, Script},
    secret::random,
};

const PUBLISH: &str = "redis.call('PUBLISH', KEYS[1], ARGV[1]) return 'ok'";

/// How many writes may wait to be published. If there are more, all answers become stale instead.
const WAITING: usize = 1024;

/// How many resources one message has. If there are more, all answers become stale instead.
const LONGEST: usize = 4096;

/// How long the server may take, and the pause before the next attempt.
const TIMEOUT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(1);

/// How long the answer to a write waits for the server, so that the next read finds the write, whichever gateway it asks.
const PATIENCE: Duration = Duration::from_millis(250);

/// The exchange of invalidations with the other gateways of a namespace.
#[derive(Debug, Clone)]
pub(super) struct Invalidations {
    writes: mpsc::Sender<Write>,
    /// More writes came than fit.
    overflowed: Arc<AtomicBool>,
    _tasks: Arc<[AbortOnDropHandle<()>; 2]>,
}

#[derive(Debug)]
struct Write {
    resources: Vec<Resource>,
    uncertain: bool,
    published: oneshot::Sender<()>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Message {
    /// A name of the gateway, which ignores its own messages.
    from: String,
    /// Everything may be stale.
    all: bool,
    /// Resources that were written, by hash.
    done: Vec<u64>,
    /// Resources that may still be written.
    uncertain: Vec<u64>,
}

impl Invalidations {
    /// Publishes the writes of this gateway, and applies those of the others.
    pub(super) fn exchange(redis: &Redis, epochs: &Epochs) -> Self {
        let channel = format!("{}:cache", redis.namespace());
        // Without random numbers there is no TLS either.
        let name = random::hex().map_or_else(|_| String::new(), |name| name.expose().to_owned());
        let (writes, waiting) = mpsc::channel(WAITING);
        let overflowed = Arc::new(AtomicBool::new(false));
        let following = follow(redis.subscribe(channel.clone()), name.clone(), epochs.clone());
        let publishing = publish(redis.clone(), channel, name, waiting, Arc::clone(&overflowed));
        let tasks = [tokio::spawn(following), tokio::spawn(publishing)].map(AbortOnDropHandle::new);
        Self { writes, overflowed, _tasks: Arc::new(tasks) }
    }

    /// Tells the others at once. Resolves when the server has it, or after a moment.
    pub(super) fn tell(&self, resources: Vec<Resource>, uncertain: bool) -> impl Future<Output = ()> + Send + use<> {
        let (published, told) = oneshot::channel();
        if self.writes.try_send(Write { resources, uncertain, published }).is_err() {
            self.overflowed.store(true, Ordering::Relaxed);
        }
        async {
            let _ = timeout(PATIENCE, told).await;
        }
    }
}

impl Message {
    fn add(&mut self, written: &[Resource], uncertain: bool) {
        let hashes = if uncertain { &mut self.uncertain } else { &mut self.done };
        if hashes.len() + written.len() <= LONGEST {
            hashes.extend(written.iter().map(|Resource(hash)| hash));
        } else {
            self.all = true;
        }
    }

    fn apply(self, epochs: &Epochs) {
        if self.all {
            return epochs.all_written(true);
        }
        for (hashes, uncertain) in [(self.done, false), (self.uncertain, true)] {
            for hash in hashes {
                epochs.written(Invalidation { resource: Resource(hash), uncertain });
            }
        }
    }
}

/// Applies the messages of the others.
async fn follow(mut messages: mpsc::Receiver<redis::Message>, name: String, epochs: Epochs) {
    let mut had_messages = false;
    while let Some(message) = messages.recv().await {
        let redis::Message::Text(text) = message else {
            epochs.all_written(mem::replace(&mut had_messages, true));
            continue;
        };
        match serde_json::from_str::<Message>(&text) {
            Ok(message) if message.from == name => {}
            Ok(message) => message.apply(&epochs),
            // A later version may say it differently.
            Err(_) => epochs.all_written(true),
        }
    }
}

/// Publishes all that waits, in one message.
async fn publish(
    redis: Redis,
    channel: String,
    name: String,
    mut waiting: mpsc::Receiver<Write>,
    overflowed: Arc<AtomicBool>,
) {
    let script = Script::new(PUBLISH);
    while let Some(first) = waiting.recv().await {
        let mut message = Message { from: name.clone(), ..Message::default() };
        message.add(&first.resources, first.uncertain);
        let mut writers = vec![first.published];
        let mut failed = false;
        loop {
            while let Ok(Write { resources, uncertain, published }) = waiting.try_recv() {
                message.add(&resources, uncertain);
                writers.push(published);
            }
            message.all |= overflowed.swap(false, Ordering::Relaxed);
            let Ok(text) = serde_json::to_string(&message) else { break };
            let Err(error) = redis.run(&script, &channel, &[&text], TIMEOUT).await else { break };
            if !mem::replace(&mut failed, true) {
                tracing::warn!(reason = %error, "other gateways do not learn of writes, so their caches may be stale");
            }
            // Nobody waits so long.
            writers.clear();
            sleep(PAUSE).await;
        }
        for published in writers {
            // Its write may not wait any more.
            let _ = published.send(());
        }
    }
}
