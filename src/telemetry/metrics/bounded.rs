//! Metrics whose number of series is bounded.

use std::{
    fmt::{self, Debug, Formatter},
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use prometheus_client::metrics::family::{Family, MetricConstructor};

/// A metric with series of their own for the first label sets that are used. All further ones share the series of the
/// others.
#[derive(Clone)]
pub(super) struct Bounded<S, M, C = fn() -> M> {
    pub(super) family: Family<S, M, C>,
    max: usize,
    /// Two threads that create one series at the same time count it twice, which only lowers the bound.
    size: Arc<AtomicUsize>,
}

impl<S, M, C> Bounded<S, M, C>
where
    S: Clone + Eq + Hash,
    C: MetricConstructor<M>,
    Family<S, M, C>: Clone,
{
    pub(super) fn new(family: Family<S, M, C>, max: usize) -> Self {
        Self { family, max, size: Arc::default() }
    }

    /// Updates the series of these labels, or that of the `others`.
    pub(super) fn update(&self, labels: S, others: impl FnOnce() -> S, update: impl FnOnce(&M)) {
        let labels = if self.has_place(&labels) { labels } else { others() };
        update(&self.family.get_or_create(&labels));
    }

    fn has_place(&self, labels: &S) -> bool {
        if self.family.get(labels).is_some() {
            return true;
        }
        let is_free = self.size.load(Ordering::Relaxed) < self.max;
        if is_free {
            self.size.fetch_add(1, Ordering::Relaxed);
        }
        is_free
    }
}

impl<S, M, C> Debug for Bounded<S, M, C> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded").field("max", &self.max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn label_sets_beyond_the_bound_share_a_series() {
        let bounded = Bounded::new(Family::<u32, Counter>::default(), 100);
        for number in 1..=150 {
            bounded.update(number, || 0, |counter| _ = counter.inc());
        }
        let count = |number| bounded.family.get(&number).map(|counter| counter.get());
        assert_eq!((count(100), count(101), count(0)), (Some(1), None, Some(50)));
        bounded.update(7, || 0, |counter| _ = counter.inc());
        assert_eq!(count(7), Some(2), "an early one keeps its series");
    }
}
