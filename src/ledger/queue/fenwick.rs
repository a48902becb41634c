//! Counts the marks in a row of places, of which any may be cleared.
//!
//! A Fenwick tree: the sum kept at place i (from 1) is that of the last `width(i)` places up to it, so that both a
//! count and a change touch O(log n) sums.

/// The marks, all set at first.
#[derive(Debug, Default)]
pub(super) struct Fenwick {
    sums: Vec<u32>,
}

impl Fenwick {
    /// Adds a marked place at the end.
    pub(super) fn push(&mut self) {
        let place = self.sums.len() + 1;
        let start = place - width(place) as usize;
        let sum = self.count(place - 1) - self.count(start);
        self.sums.push(sum as u32 + 1);
    }

    /// Clears the mark at an index. It must be set.
    pub(super) fn clear(&mut self, index: usize) {
        let mut place = index + 1;
        while let Some(sum) = self.sums.get_mut(place - 1) {
            *sum -= 1;
            place += width(place) as usize;
        }
    }

    /// How many of the first `places` are marked.
    pub(super) fn count(&self, places: usize) -> usize {
        let (mut place, mut count) = (places, 0);
        while place > 0 {
            count += self.sums[place - 1] as usize;
            place -= width(place) as usize;
        }
        count
    }

    /// So many places, all marked, in room for `capacity`.
    pub(super) fn reset(&mut self, places: usize, capacity: usize) {
        self.sums.clear();
        self.sums.shrink_to(capacity);
        self.sums.extend((1..=places).map(width));
    }
}

/// How many places a sum covers.
fn width(place: usize) -> u32 {
    1 << place.trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_left() {
        let (mut fenwick, mut marks) = (Fenwick::default(), Vec::new());
        let check = |fenwick: &Fenwick, marks: &[bool]| {
            for places in 0..=marks.len() {
                assert_eq!(fenwick.count(places), marks[..places].iter().filter(|mark| **mark).count());
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
