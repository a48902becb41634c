//! Calls that an operator has paused. Nothing of them is sent until the pause ends.

use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::Instant;

use super::{CallSelector, Caller, Key};

/// When a call may ask again whose pause has no end. A person ends it.
const AFTER_A_PERSON: Duration = Duration::from_secs(10);

/// The pauses of a process.
#[derive(Debug, Default)]
pub struct Pauses(RwLock<Vec<Pause>>);

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// The calls that it holds back.
    pub selector: CallSelector,
    /// When it ends by itself.
    pub until: Option<Instant>,
}

impl Pauses {
    /// Begins a pause. It replaces a pause of the same calls.
    pub(super) fn begin(&self, pause: Pause) {
        let mut pauses = self.0.write();
        pauses.retain(|other| other.selector != pause.selector);
        pauses.push(pause);
    }

    /// Ends the pause of exactly these calls; `None` ends all. Gives those that have ended.
    pub(super) fn end(&self, selector: Option<&CallSelector>, now: Instant) -> Vec<Pause> {
        let mut pauses = self.0.write();
        let ends = |pause: &Pause| selector.is_none_or(|selector| pause.selector == *selector);
        let (ended, rest) = pauses.drain(..).filter(|pause| pause.is_on(now)).partition(ends);
        *pauses = rest;
        ended
    }

    /// The pauses in force.
    pub(super) fn in_force(&self, now: Instant) -> Vec<Pause> {
        self.0.read().iter().filter(|pause| pause.is_on(now)).cloned().collect()
    }

    /// How long a call is held back; `None` if it may be sent.
    pub(super) fn hold(&self, key: &Key, caller: &Caller, now: Instant) -> Option<Duration> {
        let pauses = self.0.read();
        let applies = |pause: &&Pause| {
            pause.is_on(now) && pause.selector.covers(key) && pause.selector.selects(caller.name(), "")
        };
        pauses.iter().filter(applies).map(|pause| pause.left(now)).max()
    }
}

impl Pause {
    /// Until a call may ask again.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.until.map_or(AFTER_A_PERSON, |until| until.saturating_duration_since(now))
    }

    fn is_on(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::os::clock;

    fn of_caller(name: &str) -> CallSelector {
        CallSelector { caller: Some(name.to_owned()), ..CallSelector::default() }
    }

    #[test]
    fn a_pause_holds_back_its_calls_until_it_ends() {
        let (pauses, now) = (Pauses::default(), clock::now());
        let key = Key { account: "main".to_owned(), limit: "people.a".to_owned() };
        let hold = |caller: &str, at| pauses.hold(&key, &Caller::new(caller, NonZeroU32::MIN), at);
        let minute = Duration::from_secs(60);
        pauses.begin(Pause { selector: of_caller("payroll"), until: None });
        assert_eq!(hold("payroll", now), Some(AFTER_A_PERSON));
        assert_eq!(hold("portal", now), None);

        pauses.begin(Pause { selector: of_caller("payroll"), until: Some(now + minute) });
        assert_eq!(pauses.in_force(now).len(), 1, "the newer pause of the same calls replaces the older one");
        assert_eq!(hold("payroll", now), Some(minute));
        assert_eq!(hold("payroll", now + minute), None);
        assert_eq!(pauses.in_force(now + minute), []);

        pauses.begin(Pause { selector: of_caller("portal"), until: None });
        assert_eq!(pauses.end(Some(&of_caller("reports")), now), []);
        assert_eq!(pauses.end(Some(&of_caller("payroll")), now).len(), 1);
        assert_eq!(hold("payroll", now), None);
        assert!(hold("portal", now).is_some());
        assert_eq!(pauses.end(None, now).len(), 1);
        assert_eq!(hold("portal", now), None);
    }
}
