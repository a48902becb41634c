//! The state that outlives a process, as the store keeps it.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{flaw::Flaw, known::Known, random::Random};
use crate::ledger::{Key, NO_ANSWER_GRACE, Row, StartState};

/// One commit.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) rows: Vec<(Key, Row)>,
    pub(super) known: Known,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Each row with the moment when it was written.
    rows: BTreeMap<Key, (Row, Option<Instant>)>,
    /// The copy of the locks, stored next to the rows.
    locks: BTreeMap<Key, Instant>,
    used: bool,
    lost: bool,
    /// What a process that starts now has to know, by the checker's own records.
    pub(super) known: Known,
}

impl Disk {
    pub(super) fn take(&mut self, commit: Commit, now: Instant) {
        let Commit { rows, known } = commit;
        self.write(rows, now);
        self.known = known;
    }

    pub(super) fn write(&mut self, rows: Vec<(Key, Row)>, now: Instant) {
        (self.used, self.lost) = (true, false);
        for (key, row) in rows {
            match row.lock {
                Some(until) => self.locks.insert(key.clone(), until),
                None => self.locks.remove(&key),
            };
            if row.is_empty() {
                self.rows.remove(&key);
            } else {
                self.rows.insert(key, (row, Some(now)));
            }
        }
    }

    /// Damages the database, and perhaps the copy of the locks too.
    pub(super) fn lose(&mut self, copy_too: bool) {
        self.rows.clear();
        if copy_too {
            self.locks.clear();
            self.known.lock_ends = 0;
        }
        // The last answers are unknown: they may have reported a lock.
        self.known.probe_needed();
        (self.used, self.lost) = (true, true);
    }

    /// The machine reboots and its clock starts again: each moment is as far away as it was when it was written.
    pub(super) fn reboot(&mut self, now: Instant) {
        let mut longest = Duration::ZERO;
        for (row, written) in self.rows.values_mut() {
            let away = written.map_or(Duration::ZERO, |written| now - written);
            longest = longest.max(away);
            row.charges.iter_mut().for_each(|(at, _)| *at += away);
            row.lock = row.lock.map(|until| until + away);
            *written = Some(now);
        }
        self.locks.values_mut().for_each(|until| *until += longest);
    }

    /// What a process finds that starts now.
    pub(super) fn read(&self, now: Instant, flaw: Option<Flaw>, window: Duration, random: &mut Random) -> StartState {
        let fresh = !self.used || flaw == Some(Flaw::ForgetsRows);
        if fresh || (self.lost && flaw == Some(Flaw::IgnoresTheLoss)) {
            return StartState::Fresh;
        }
        if self.lost {
            return StartState::Lost { reason: "damaged".to_owned(), set_aside: None, locks: self.locks.clone() };
        }
        let mut rows: BTreeMap<_, _> = self.rows.iter().map(|(key, (row, _))| (key.clone(), row.clone())).collect();
        let micros = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        let step = Duration::from_micros(random.below(2 * micros));
        for row in rows.values_mut() {
            match flaw {
                Some(Flaw::TakesUnansweredForAnswered) => {
                    row.charges.push((now + row.window, std::mem::take(&mut row.in_flight)));
                }
                Some(Flaw::TrustsTheWallClock) => row.charges.iter_mut().for_each(|(at, _)| *at -= step),
                Some(Flaw::ForgetsLocks) => row.lock = None,
                _ => {}
            }
        }
        StartState::Kept(rows)
    }
}

/// [`NO_ANSWER_GRACE`] in the simulation's unit.
pub(super) fn grace() -> u64 {
    u64::try_from(NO_ANSWER_GRACE.as_micros()).unwrap_or(u64::MAX)
}
