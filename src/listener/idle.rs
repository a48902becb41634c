//! Connections that stand idle, and give way when somebody else needs their place: the longest idle first.

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

/// A connection that stood idle for so long may give way to others. Whoever comes waits so long for a place at most, as
/// long as somebody stands idle; busy connections are used again before that, and pay nothing for it.
pub(super) const IDLE_AFTER: Duration = Duration::from_millis(250);

/// Those of all listeners that share their places.
#[derive(Debug, Clone, Default)]
pub(super) struct IdleConnections(Arc<Mutex<Standing>>);

#[derive(Debug, Default)]
struct Standing {
    /// In the order in which they fell idle.
    connections: BTreeMap<u64, Arc<Notice>>,
    next: u64,
    /// How many wait for a place.
    wanted: usize,
}

/// What an idle connection is told.
#[derive(Debug, Default)]
struct Notice {
    leave: AtomicBool,
    task: AtomicWaker,
}

/// A connection while it stands idle.
#[derive(Debug)]
pub(super) struct Idler {
    all: IdleConnections,
    number: u64,
    notice: Arc<Notice>,
}

impl IdleConnections {
    /// One more stands idle, until its [`Idler`] is dropped. Where somebody waits for a place it is to leave at once.
    pub(super) fn enter(&self) -> Idler {
        let notice = Arc::<Notice>::default();
        let mut standing = self.0.lock();
        notice.leave.store(standing.wanted > 0, Relaxed);
        let number = standing.next;
        standing.next += 1;
        standing.connections.insert(number, Arc::clone(&notice));
        Idler { all: self.clone(), number, notice }
    }

    /// Somebody needs a place, until what this gives is dropped.
    pub(super) fn give_way(&self) -> Wanted<'_> {
        let mut standing = self.0.lock();
        standing.wanted += 1;
        if let Some((_, longest)) = standing.connections.pop_first() {
            longest.leave.store(true, Relaxed);
            longest.task.wake();
        }
        Wanted(self)
    }

    /// Ends once a connection that is not ready after `timeouts` is to leave.
    pub(super) async fn slow(&self, timeouts: Duration) {
        tokio::time::sleep(timeouts).await;
        let idler = self.enter();
        poll_fn(|context| if idler.is_to_leave(context) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// A place is needed.
#[derive(Debug)]
pub(super) struct Wanted<'a>(&'a IdleConnections);

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.0.lock().wanted -= 1;
    }
}

impl Idler {
    /// Whether it is to leave; if not, its task is woken when it is.
    pub(super) fn is_to_leave(&self, context: &mut Context<'_>) -> bool {
        self.notice.task.register(context.waker());
        self.notice.leave.load(Relaxed)
    }
}

impl Drop for Idler {
    fn drop(&mut self) {
        self.all.0.lock().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn the_longest_idle_gives_way() {
        let all = IdleConnections::default();
        let [first, second, third] = [all.enter(), all.enter(), all.enter()];
        drop(first);
        let leaving = |idler: &Idler| idler.is_to_leave(&mut Context::from_waker(Waker::noop()));
        assert!(!leaving(&second) && !leaving(&third));
        let wanted = all.give_way();
        assert!(leaving(&second) && !leaving(&third));
        let fourth = all.enter();
        assert!(leaving(&fourth), "a place is still wanted");
        drop(wanted);
        assert!(!leaving(&all.enter()));
        drop((second, third, fourth));
        drop(all.give_way());
        assert!(all.0.lock().connections.is_empty());
    }
}
