//! Whose call waits: the name and weight that the queue's fairness uses.

use std::{
    hash::{Hash, Hasher},
    num::NonZeroU32,
    sync::{Arc, LazyLock},
};

/// The greatest weight: next to it, a caller of weight 1 still gets about every thousandth turn.
const MAX_WEIGHT: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);

/// Shared, because most gateways have no other caller and would allocate this name for each call.
static ANONYMOUS: LazyLock<Caller> = LazyLock::new(|| Caller::new("anonymous", NonZeroU32::MIN));

/// A caller, and its weight in the queue. Cheap to clone.
///
/// Callers with the same name are equal; the weight of the newest call counts.
#[derive(Debug, Clone)]
pub struct Caller {
    name: Arc<str>,
    weight: NonZeroU32,
}

impl Caller {
    /// A caller with this weight; more than 1000 counts as 1000.
    ///
    /// While both wait, a caller of weight 2 gets two turns for each turn of a caller of weight 1.
    #[must_use]
    pub fn new(name: &str, weight: NonZeroU32) -> Self {
        Self { name: Arc::from(name), weight: weight.min(MAX_WEIGHT) }
    }

    /// All unknown callers, as one caller of weight 1.
    #[must_use]
    pub fn anonymous() -> Self {
        ANONYMOUS.clone()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its weight, 1 to 1000.
    #[must_use]
    pub fn weight(&self) -> NonZeroU32 {
        self.weight
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Caller {}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_equal_by_name() {
        let two = NonZeroU32::new(2).unwrap();
        assert_eq!(Caller::new("a", NonZeroU32::MIN), Caller::new("a", two));
        assert_ne!(Caller::new("a", two), Caller::new("b", two));
        assert_eq!(Caller::anonymous(), Caller::new("anonymous", two));
    }

    #[test]
    fn weights_are_at_most_a_thousand() {
        assert_eq!(Caller::new("a", NonZeroU32::MAX).weight().get(), 1000);
        assert_eq!(Caller::anonymous().weight().get(), 1);
    }
}
