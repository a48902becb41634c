//! Whose call waits: the caller's name, and its terms in the queue.

use std::{
    hash::{Hash, Hasher},
    num::NonZeroU32,
    sync::{Arc, LazyLock},
    time::Duration,
};

/// The greatest weight: next to it, a caller of weight 1 still gets about every thousandth turn.
const MAX_WEIGHT: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);

/// Shared, because most gateways have no other caller and would allocate this name for each call.
static ANONYMOUS: LazyLock<Caller> = LazyLock::new(|| Caller::new("anonymous", NonZeroU32::MIN));

/// A caller with its terms. Cheap to clone.
///
/// Callers with the same name are equal; the terms of the newest call count.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: Box<str>,
    terms: Terms,
}

/// What the configuration gives a caller of each route's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Its share relative to other callers, at most 1000.
    pub weight: NonZeroU32,
    /// How many slots of each window nobody else may take.
    pub reserve: u32,
    /// How many slots it may use in any window; `None`: all.
    pub max_share: Option<NonZeroU32>,
    /// How long its calls wait unless they say otherwise; `None`: as long as those of all callers.
    pub max_wait: Option<Duration>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { weight: NonZeroU32::MIN, reserve: 0, max_share: None, max_wait: None }
    }
}

impl Caller {
    /// A caller with this weight; more than 1000 counts as 1000.
    ///
    /// While both wait, a caller of weight 2 gets two turns for each turn of a caller of weight 1.
    #[must_use]
    pub fn new(name: &str, weight: NonZeroU32) -> Self {
        Self::with_terms(name, Terms { weight, ..Terms::default() })
    }

    /// A caller with these terms.
    #[must_use]
    pub fn with_terms(name: &str, terms: Terms) -> Self {
        let weight = terms.weight.min(MAX_WEIGHT);
        Self(Arc::new(Inner { name: name.into(), terms: Terms { weight, ..terms } }))
    }

    /// All unknown callers, as one caller of weight 1.
    #[must_use]
    pub fn anonymous() -> Self {
        ANONYMOUS.clone()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its weight, 1 to 1000.
    #[must_use]
    pub fn weight(&self) -> NonZeroU32 {
        self.0.terms.weight
    }

    /// Its terms.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.0.terms
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.name == other.0.name
    }
}

impl Eq for Caller {}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
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
