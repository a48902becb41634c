//! The idle connections. When another connection needs one of the limited connections, the one idle longest is closed.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// From when on an idle connection may be closed for another one. A new connection waits at most this long while there
/// are idle ones. Busy connections are used again sooner, so they never enter the queue.
pub(super) const IDLE_AFTER: Duration = Duration::from_millis(250);

/// The idle connections of all listeners that share a connection limit.
#[derive(Debug, Clone, Default)]
pub(super) struct IdleConnections(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    /// In the order in which they became idle.
    connections: BTreeMap<u64, Arc<CloseSignal>>,
    next: u64,
    /// How many new connections wait.
    waiting: usize,
}

/// Tells an idle connection to close.
#[derive(Debug, Default)]
struct CloseSignal {
    close: AtomicBool,
    task: AtomicWaker,
}

/// An idle connection's entry in the queue; dropping it removes the entry.
#[derive(Debug)]
pub(super) struct IdleGuard {
    all: IdleConnections,
    number: u64,
    signal: Arc<CloseSignal>,
}

impl IdleConnections {
    /// Adds an idle connection. If a new connection waits, the idle one must close at once.
    pub(super) fn enter(&self) -> IdleGuard {
        let signal = Arc::<CloseSignal>::default();
        let mut queue = self.0.lock();
        signal.close.store(queue.waiting > 0, Relaxed);
        let number = queue.next;
        queue.next += 1;
        queue.connections.insert(number, Arc::clone(&signal));
        IdleGuard { all: self.clone(), number, signal }
    }

    /// Closes the connection that was idle longest. Until the result is dropped, each further one closes too.
    pub(super) fn close_longest_idle(&self) -> Waiting<'_> {
        let mut queue = self.0.lock();
        queue.waiting += 1;
        if let Some((_, longest)) = queue.connections.pop_first() {
            longest.close.store(true, Relaxed);
            longest.task.wake();
        }
        Waiting(self)
    }

    /// Enters a connection that is not ready after `time`, and ends when it must close.
    pub(super) async fn evicted_after(&self, time: Duration) {
        tokio::time::sleep(time).await;
        let guard = self.enter();
        poll_fn(|context| if guard.must_close(context) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// A new connection that waits until an idle one has closed.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a IdleConnections);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.lock().waiting -= 1;
    }
}

impl IdleGuard {
    /// Whether the connection must close; if not, its task is woken when it must.
    pub(super) fn must_close(&self, context: &mut Context<'_>) -> bool {
        self.signal.task.register(context.waker());
        self.signal.close.load(Relaxed)
    }
}

impl Drop for IdleGuard {
    fn drop(&mut self) {
        self.all.0.lock().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn the_longest_idle_connection_closes_first() {
        let all = IdleConnections::default();
        let [first, second, third] = [all.enter(), all.enter(), all.enter()];
        drop(first);
        let closes = |guard: &IdleGuard| guard.must_close(&mut Context::from_waker(Waker::noop()));
        assert!(!closes(&second) && !closes(&third));
        let waiting = all.close_longest_idle();
        assert!(closes(&second) && !closes(&third));
        let fourth = all.enter();
        assert!(closes(&fourth), "a connection still waits");
        drop(waiting);
        assert!(!closes(&all.enter()));
        drop((second, third, fourth));
        drop(all.close_longest_idle());
        assert!(all.0.lock().connections.is_empty());
    }
}
