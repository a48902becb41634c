//! How urgent a call is.

/// How many urgencies there are.
pub(super) const URGENCIES: usize = 8;

/// The urgency of RFC 9218: 0 goes first, 7 is background work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Urgency(u8);

impl Urgency {
    /// `None` unless it is 0 to 7.
    #[must_use]
    pub fn new(urgency: u8) -> Option<Self> {
        (usize::from(urgency) < URGENCIES).then_some(Self(urgency))
    }

    /// 0 to 7.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// All of them, the most urgent first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..).map_while(Self::new)
    }
}

impl Default for Urgency {
    /// 3, the default of RFC 9218.
    fn default() -> Self {
        Self(3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_eight() {
        assert_eq!(Urgency::all().count(), URGENCIES);
        assert_eq!(Urgency::new(7).map(Urgency::get), Some(7));
        assert_eq!(Urgency::new(8), None);
        assert_eq!(Urgency::default().get(), 3);
    }
}
