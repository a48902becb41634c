//! Counts the marks in a list in which any mark may be cleared.
//!
//! A Fenwick tree: the sum at node i (from 1) covers the last `width(i)` marks up to it, so that both a count and a
//! change touch O(log n) sums.

/// The marks, all set at first.
#[derive(Debug, Default)]
pub(super) struct Fenwick {
    sums: Vec<u32>,
}

impl Fenwick {
    /// Adds a mark at the end.
    pub(super) fn push(&mut self) {
        let node = self.sums.len() + 1;
        let start = node - width(node) as usize;
        let sum = self.count(node - 1) - self.count(start);
        self.sums.push(sum as u32 + 1);
    }

    /// Clears the mark at an index. It must be set.
    pub(super) fn clear(&mut self, index: usize) {
        let mut node = index + 1;
        while let Some(sum) = self.sums.get_mut(node - 1) {
            *sum -= 1;
            node += width(node) as usize;
        }
    }

    /// How many of the first `len` marks are set.
    pub(super) fn count(&self, len: usize) -> usize {
        let (mut node, mut count) = (len, 0);
        while node > 0 {
            count += self.sums[node - 1] as usize;
            node -= width(node) as usize;
        }
        count
    }

    /// Starts again with `len` marks, all set, and memory for at most `capacity`.
    pub(super) fn reset(&mut self, len: usize, capacity: usize) {
        self.sums.clear();
        self.sums.shrink_to(capacity);
        self.sums.extend((1..=len).map(width));
    }
}

/// How many marks the sum at a node covers.
fn width(node: usize) -> u32 {
    1 << node.trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_marks_that_are_left() {
        let (mut fenwick, mut marks) = (Fenwick::default(), Vec::new());
        let check = |fenwick: &Fenwick, marks: &[bool]| {
            for len in 0..=marks.len() {
                assert_eq!(fenwick.count(len), marks[..len].iter().filter(|mark| **mark).count());
            }
        };
        for index in 0..50 {
            fenwick.push();
            marks.push(true);
            if index % 3 == 2 {
                fenwick.clear(index / 2);
                marks[index / 2] = false;
            }
            check(&fenwick, &marks);
        }
        fenwick.reset(21, 30);
        check(&fenwick, &[true; 21]);
    }
}
