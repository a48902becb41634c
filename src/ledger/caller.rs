//! Who waits, as far as fairness is concerned.

use std::{
    hash::{Hash, Hasher},
    num::NonZeroU32,
    sync::{Arc, LazyLock},
};

/// The greatest weight: a caller of weight 1 beside it still gets every thousandth turn.
const MAX_WEIGHT: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);

/// Shared, because most gateways know no other caller and would make this name for every call.
static ANONYMOUS: LazyLock<Caller> = LazyLock::new(|| Caller::new("anonymous", NonZeroU32::MIN));

/// Somebody who calls through the gateway, and its share where several wait. Cheap to clone.
///
/// Two callers are the same if their names are; the weight is what the newest call says.
#[derive(Debug, Clone)]
pub struct Caller {
    name: Arc<str>,
    weight: NonZeroU32,
}

impl Caller {
    /// A caller and its weight, which is at most 1000: more counts as 1000.
    ///
    /// A caller of weight 2 gets two turns for each turn of one of weight 1, while both wait.
    #[must_use]
    pub fn new(name: &str, weight: NonZeroU32) -> Self {
        Self { name: Arc::from(name), weight: weight.min(MAX_WEIGHT) }
    }

    /// All those who did not say who they are, as one caller of weight 1.
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
    fn the_name_makes_the_caller() {
        let two = NonZeroU32::new(2).unwrap();
        assert_eq!(Caller::new("a", NonZeroU32::MIN), Caller::new("a", two));
        assert_ne!(Caller::new("a", two), Caller::new("b", two));
        assert_eq!(Caller::anonymous(), Caller::new("anonymous", two));
    }

    #[test]
    fn weights_end_at_a_thousand() {
        assert_eq!(Caller::new("a", NonZeroU32::MAX).weight().get(), 1000);
        assert_eq!(Caller::anonymous().weight().get(), 1);
    }
}
