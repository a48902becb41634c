//! The waiters of one caller and one urgency, first come, first served.
//!
//! Entries are only added at the end. A waiter that leaves, from any position, leaves a gap. Once there are more gaps
//! than waiters, the gaps are removed, so that leaving costs O(log n) on average and the gaps take little memory.

use super::{enqueued_at::EnqueuedAt, fenwick::Fenwick};

/// Waiters in the order of their numbers, which is the order of their arrivals.
#[derive(Debug)]
pub(super) struct Level<W> {
    entries: Vec<Entry<W>>,
    /// Marks the entries that have a waiter.
    present: Fenwick,
    len: usize,
    /// The index of the first waiter; all entries before it are gaps.
    first: usize,
}

#[derive(Debug)]
struct Entry<W> {
    number: u64,
    arrival: EnqueuedAt,
    /// `None` is a gap: its number and arrival stay, for the searches.
    waiter: Option<W>,
}

// === impl Level ===

impl<W> Level<W> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), present: Fenwick::default(), len: 0, first: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number and arrival must not be less than those of the last entry.
    pub(super) fn push(&mut self, number: u64, arrival: EnqueuedAt, waiter: W) {
        if self.entries.capacity() == 0 {
            // Most levels hold one waiter at a time; a vector would allocate space for four at once.
            self.entries.reserve_exact(1);
        }
        self.entries.push(Entry { number, arrival, waiter: Some(waiter) });
        self.present.push();
        self.len += 1;
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<W> {
        let index = self.index(number)?;
        let waiter = self.entries[index].waiter.take()?;
        self.present.clear(index);
        self.len -= 1;
        if self.entries.len() - self.len > self.len {
            self.close_gaps();
        }
        let gaps = self.entries[self.first..].iter().take_while(|entry| entry.waiter.is_none()).count();
        self.first += gaps;
        Some(waiter)
    }

    pub(super) fn get(&self, number: u64) -> Option<&W> {
        self.entries[self.index(number)?].waiter.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut W> {
        let index = self.index(number)?;
        self.entries[index].waiter.as_mut()
    }

    /// When this waiter arrived, and how many are before it.
    pub(super) fn rank(&self, number: u64) -> Option<(EnqueuedAt, usize)> {
        let index = self.index(number)?;
        let entry = &self.entries[index];
        entry.waiter.is_some().then(|| (entry.arrival, self.present.count(index)))
    }

    /// How many arrived at moments for which `early` is true. If it is true for a moment, it must be for all earlier
    /// ones.
    pub(super) fn count(&self, early: impl Fn(EnqueuedAt) -> bool) -> usize {
        self.present.count(self.entries.partition_point(|entry| early(entry.arrival)))
    }

    /// Number and arrival of the first waiter.
    pub(super) fn head(&self) -> Option<(u64, EnqueuedAt)> {
        self.entries.get(self.first).map(|entry| (entry.number, entry.arrival))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, EnqueuedAt, &W)> {
        self.entries[self.first..]
            .iter()
            .filter_map(|entry| entry.waiter.as_ref().map(|waiter| (entry.number, entry.arrival, waiter)))
    }

    fn index(&self, number: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&number, |entry| entry.number).ok()
    }

    fn close_gaps(&mut self) {
        self.entries.retain(|entry| entry.waiter.is_some());
        let capacity = self.len + self.len / 2;
        self.entries.shrink_to(capacity);
        self.present.reset(self.len, capacity);
        self.first = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_take_no_memory() {
        let mut level = Level::new();
        for number in 0..1000 {
            level.push(number, EnqueuedAt::default(), ());
        }
        for number in 0..990 {
            level.remove(number);
        }
        assert!(level.entries.capacity() < 40);
        assert_eq!(level.rank(995).map(|(_, before)| before), Some(5));
        for number in 990..1000 {
            level.remove(number);
        }
        assert!(level.is_empty() && level.head().is_none());
        assert_eq!(level.entries.capacity(), 0);
    }
}
