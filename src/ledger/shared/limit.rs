//! What a member holds of one limit, and what it knows of a route's lock.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

use super::message::{Granted, Held, millis_up};
use crate::{
    ledger::{Quota, forecast::Forecast, window::Window},
    zoho::catalogue::Threshold,
};

/// How many moments at which slots come free are reported; the others come later.
const MOMENTS: usize = 32;

/// A limit as the configuration has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LimitSettings {
    pub(super) threshold: Threshold,
    /// How many slots are free at once after a loss.
    pub(super) spare: u32,
    /// Whether one call goes alone after a loss.
    pub(super) alone: bool,
}

/// The slots of one limit that this member holds.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) settings: LimitSettings,
    /// Counts the slots in use. It may use as many as are held.
    pub(super) window: Window,
    pub(super) held: u32,
    /// Held too, but they must be opened by a request before they are used.
    pub(super) sealed: u32,
    /// Other members wait for slots: what comes free here goes through the record, so that it is given to the one whose
    /// turn it is.
    pub(super) wanted: bool,
    /// How many idle slots were granted to calls that wait here, and are not given back.
    pub(super) reserved: u32,
    /// The others know that this member waits.
    pub(super) asked: bool,
    /// It has asked, and got none.
    pub(super) in_vain: bool,
    /// How many slots nobody may use, because unknown members may.
    pub(super) shut: u32,
    /// How many calls wait on other members.
    pub(super) waiting: u32,
    /// When slots in use on other members come free.
    pub(super) ends: Vec<(Instant, u32)>,
    /// The smallest number of slots that any member says.
    pub(super) requests: u32,
}

/// A lock of a route.
#[derive(Debug, Clone)]
pub(super) struct RouteLock {
    pub(super) name: String,
    /// Whether this member may send the call that goes alone after the lock.
    pub(super) probe: bool,
    /// Whether it has asked for that.
    pub(super) asked: bool,
    /// An answer here reported it, and the record does not know it yet.
    pub(super) met: bool,
}

impl Limit {
    pub(super) fn new(settings: LimitSettings, generation: u32, now: Instant) -> Self {
        let mut window = Window::new(settings.threshold, now);
        window.restart(generation, now);
        Self {
            settings,
            window,
            held: 0,
            sealed: 0,
            wanted: false,
            reserved: 0,
            asked: false,
            in_vain: false,
            shut: 0,
            waiting: 0,
            ends: Vec::new(),
            requests: settings.threshold.requests.get(),
        }
    }

    /// The configuration has another threshold. Slots in use stay in use for as long as the longer window says: other members
    /// may still have that one. What is held beyond the new number goes back to the record.
    pub(super) fn change(&mut self, settings: LimitSettings, now: Instant) {
        let (before, threshold) = (self.settings.threshold.window, settings.threshold);
        let from = self.window.span().min(threshold.window);
        self.window.change(threshold, from, now);
        self.window.recount(before, None, now);
        self.window.allow(self.held);
        (self.settings, self.requests) = (settings, self.requests.min(threshold.requests.get()));
    }

    /// How many held slots are not in use.
    pub(super) fn idle(&mut self, now: Instant) -> u32 {
        self.window.idle(now)
    }

    /// Other members count all slots of this one as free.
    pub(super) fn give_up(&mut self, generation: u32, now: Instant) {
        self.window.restart(generation, now);
        (self.held, self.sealed, self.reserved) = (0, 0, 0);
        (self.wanted, self.asked, self.in_vain) = (false, false, false);
        self.ends.clear();
    }

    /// Whether it has slots that must go back to the record.
    pub(super) fn has_to_give(&mut self, now: Instant) -> bool {
        self.wanted && (self.sealed > 0 || self.idle(now) > self.reserved)
    }

    /// Whether a call may take a slot that is free here.
    pub(super) fn may_take(&self) -> bool {
        !self.wanted || self.reserved > 0
    }

    /// Gives up the slots that are not in use and not reserved. They are given up here first.
    fn give_idle(&mut self, now: Instant) {
        self.held -= self.idle(now).saturating_sub(self.reserved);
        self.sealed = 0;
        self.window.allow(self.held);
    }

    /// What the next request says. `waits`: calls wait here.
    pub(super) fn report(&mut self, waits: bool, leaves: bool, now: Instant) -> Held {
        if !waits {
            (self.reserved, self.in_vain) = (0, false);
        }
        if self.wanted || leaves {
            self.give_idle(now);
        }
        let ends = if leaves { self.window.latest_ends(now) } else { self.window.expected_ends(now) };
        let ends = ends.into_iter().map(|(at, slots)| (millis_up(at.saturating_duration_since(now)), slots));
        let ends = ends.take(if leaves { usize::MAX } else { MOMENTS }).collect();
        Held {
            requests: self.settings.threshold.requests.get(),
            window: millis_up(self.settings.threshold.window),
            held: self.held,
            sealed: self.sealed,
            idle: self.idle(now),
            spare: self.settings.spare,
            alone: self.settings.alone,
            ends,
        }
    }

    /// What is left for this member.
    pub(super) fn quota(&mut self, now: Instant) -> Quota {
        let requests = NonZeroU32::new(self.requests).unwrap_or(NonZeroU32::MIN);
        Quota { requests, ..self.window.quota(now) }
    }

    /// How much later than a member is gone its slots may still be in use, in milliseconds.
    pub(super) fn settles_after(&self) -> u64 {
        let window = self.settings.threshold.window;
        millis_up(window + window / 100)
    }

    /// When calls could be served, if slots that no other member is known to use can be had at once.
    pub(super) fn forecast(&mut self, shut_until: Instant, now: Instant) -> Forecast {
        let forecast = self.window.forecast(now);
        let own = self.window.expected_ends(now);
        let shut = (self.shut > 0).then_some((shut_until, self.shut));
        let mut ends: Vec<_> = own.into_iter().chain(self.ends.iter().copied()).chain(shut).collect();
        ends.sort_unstable();
        let in_use: u32 = ends.iter().map(|(_, slots)| slots).sum();
        let surplus = in_use.saturating_sub(self.requests);
        let mut passed = 0u32;
        let moments = ends.into_iter().map(|(at, slots)| {
            passed = passed.saturating_add(slots);
            (passed.saturating_sub(surplus), at)
        });
        Forecast {
            requests: self.requests.max(1),
            free: self.requests.saturating_sub(in_use),
            moments: moments.filter(|(count, _)| *count > 0).collect(),
            ..forecast
        }
    }

    /// Applies what the record grants. `waits`: the request said that calls wait here.
    pub(super) fn granted(&mut self, granted: &Granted, waits: bool, now: Instant) {
        (self.held, self.sealed, self.shut) = (granted.held, granted.sealed, granted.shut);
        (self.waiting, self.requests) = (granted.waiting, granted.requests);
        self.window.allow(self.held);
        self.window.widen(Duration::from_millis(granted.window));
        self.ends = granted.ends.iter().map(|&(rest, slots)| (now + Duration::from_millis(rest), slots)).collect();
        self.ends.sort_unstable();
        let idle = self.idle(now);
        self.reserved = if waits { granted.reserved.min(idle) } else { 0 };
        self.asked &= idle == 0;
        self.in_vain = waits && idle == 0;
    }
}
