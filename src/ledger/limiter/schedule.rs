//! Which call goes next and when: the one rule by which slots are handed out, for the present and for every forecast.
//!
//! The next call is the first one in the queue's order that may go. A call may go when
//!
//! - a slot is free, in addition to those that the reserves of other callers hold back,
//! - its caller has used fewer slots of the last window than its `max_share`,
//! - every booking before it whose time comes within a second still gets its slot by then, unless its call is overdue,
//!   or the call takes a slot of its caller's own reserve,
//! - and, where slots are spread (`pace = "fair"`), the spread allows it. That concerns a caller that has used half of its
//!   share of the last window or more, and its reserve, while another caller wants the route or did within that window.
//!
//! The spread leaves free slots for newcomers: it hands out a slot every window/requests at most, and so slowly that the
//! free slots last until others come free. If the k-th slot from now on is available at r(k), the next one goes at
//! last + max((r(k) - last) / k).
//!
//! A schedule plays the future of the queue by this rule, call by call, as if no call came or left. Its first step is the
//! decision of the present.

mod line;

use std::{iter::Peekable, time::Duration};

use tokio::time::Instant;

use self::line::Line;
use super::{
    super::{
        Caller,
        queue::{Queue, Tag, Ticket},
        slots::Outlook,
    },
    entry::Entry,
    recent_use::{CallerUse, RecentUse},
};

/// How many of the next slots the spread looks at.
const LOOKAHEAD: usize = 64;

/// How many calls are scheduled by the whole rule, and fewer if there are many callers, so that a forecast takes less than
/// some milliseconds. Later calls go in the queue's order as the slots come free: that is too early rather than too late.
const DEPTH: usize = 512;
const LEAST_DEPTH: usize = 64;
const MOST_WORK: usize = 8192;

/// By how much a booking may be later than its turn, because `Retry-After` has whole seconds.
const ROUNDING: Duration = Duration::from_secs(1);

/// The future of a queue.
pub(super) struct Schedule<'a> {
    outlook: &'a Outlook,
    recent: &'a RecentUse,
    front: Peekable<Box<dyn Iterator<Item = (Ticket, &'a Entry)> + 'a>>,
    lines: Vec<Line<'a>>,
    /// When callers that do not wait wanted the route, with their weights.
    absent: Vec<(Instant, u64)>,
    /// The callers with a reserve that do not wait.
    absent_reserves: Vec<(Option<&'a CallerUse>, u32)>,
    /// When the slots of the steps so far are taken.
    taken: Vec<Instant>,
    /// How many of them are not in a reserve, if the slots keep to reserves themselves.
    unreserved: usize,
    /// When each slot is available, as far as that was needed.
    known: Vec<(Instant, bool)>,
    now: Instant,
    last: Option<Instant>,
}

/// A call that goes, or a booking whose slot is used.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) ticket: Ticket,
    /// `None` for a booking.
    pub(super) waiting: Option<&'a Entry>,
    /// `None` at the front, for a call that had a slot before.
    pub(super) caller: Option<&'a Caller>,
    pub(super) at: Instant,
    /// Whether it waits for a limit that several routes share.
    pub(super) daily: bool,
    /// The index of its line; `None` at the front.
    line: Option<usize>,
    tag: Tag,
    /// When the spread hands out a slot.
    spread: Instant,
}

/// What holds for all lines at one step.
struct Situation {
    /// Until when somebody else than a line's caller wants the route, if only one line has calls; `None`: for ever.
    contended_until: Option<Instant>,
    /// The weights of all callers that want the route.
    weights: u64,
    /// When the spread hands out its next slot.
    spread: Instant,
}

impl<'a> Schedule<'a> {
    pub(super) fn new(queue: &'a Queue<Entry>, recent: &'a RecentUse, outlook: &'a Outlook) -> Self {
        let lines: Vec<_> = queue.lines().map(|line| Line::new(line, recent, outlook.now)).collect();
        let waits = |caller: &Caller| lines.iter().any(|line| line.caller == caller);
        let absent = recent.callers(outlook.now).filter(|own| recent.is_fair && !waits(&own.caller));
        let absent = absent.map(|own| (own.wanted, u64::from(own.caller.weight().get()))).collect();
        let reserves = recent.reserves.iter().filter(|(caller, _)| !waits(caller));
        let absent_reserves = reserves.map(|(caller, reserve)| (recent.of(caller), *reserve)).collect();
        let front: Box<dyn Iterator<Item = _>> = Box::new(queue.front());
        let (now, last, front) = (outlook.now, recent.last, front.peekable());
        let (taken, unreserved, known) = (Vec::new(), 0, Vec::new());
        Self { outlook, recent, front, lines, absent, absent_reserves, taken, unreserved, known, now, last }
    }

    /// The same if each caller that waits makes as many calls again as in the last window.
    pub(super) fn with_further_calls(mut self) -> Self {
        for line in self.lines.iter_mut().filter(|line| line.head.is_some()) {
            line.further = line.own.uses.total;
        }
        self
    }

    /// Plays all steps. Calls that `leaves` chooses leave, and use no slot.
    pub(super) fn play(mut self, mut leaves: impl FnMut(&Step<'a>) -> bool) {
        while let Some(step) = self.next() {
            let goes = !leaves(&step);
            self.finish(&step, goes);
        }
    }

    /// The first step like this, unless it is too far in the future.
    pub(super) fn find(mut self, mut is_wanted: impl FnMut(&Step<'a>) -> bool) -> Option<Step<'a>> {
        while !self.is_deep() {
            let step = self.next()?;
            if is_wanted(&step) {
                return Some(step);
            }
            self.finish(&step, true);
        }
        None
    }

    /// By caller, how many of its calls the spread lets go by now: none, one, or all.
    pub(super) fn let_go(&self) -> Vec<(&'a Caller, usize)> {
        let situation = self.situation();
        let spread = |line: &Line<'a>| match self.spread(line, &situation, self.now) {
            _ if !self.recent.is_fair => usize::MAX,
            at if at > self.now => 0,
            _ if situation.is_light(line, self.recent, self.now) => usize::MAX,
            _ => 1,
        };
        self.lines.iter().map(|line| (line.caller, spread(line))).collect()
    }

    fn next(&mut self) -> Option<Step<'a>> {
        let ahead = self.outlook.requests().min(LOOKAHEAD);
        for index in self.known.len()..self.taken.len() + ahead {
            self.known.push(self.slot_at(index));
        }
        let (slot, daily) = self.slot(0);
        if let Some(&(ticket, entry)) = self.front.peek() {
            let at = slot.max(self.now);
            let (line, tag, spread) = (None, Tag::default(), at);
            return Some(Step { ticket, waiting: Some(entry), caller: None, at, daily, line, tag, spread });
        }
        if self.is_deep() {
            return self.next_in_order(slot.max(self.now), daily);
        }
        let situation = self.situation();
        let spread = situation.spread;
        let mut broken: Vec<usize> = Vec::new();
        loop {
            let steps = self.lines.iter().enumerate().flat_map(|(index, line)| {
                let booking = line.bookings.front().map(|&(ticket, promised)| {
                    let at = self.allowed(line).max(promised);
                    Step {
                        ticket,
                        waiting: None,
                        caller: Some(line.caller),
                        at,
                        daily,
                        line: Some(index),
                        tag: line.turns.next(),
                        spread,
                    }
                });
                let head = line.head.filter(|_| !broken.contains(&index)).map(|(ticket, entry)| {
                    let at = self.moment(line, entry, &situation);
                    let tag = line.turns.after(line.bookings.len());
                    Step {
                        ticket,
                        waiting: Some(entry),
                        caller: Some(line.caller),
                        at,
                        daily,
                        line: Some(index),
                        tag,
                        spread,
                    }
                });
                booking.into_iter().chain(head)
            });
            let step = steps.min_by_key(|step| (step.at, step.tag, step.line))?;
            match step.line {
                Some(index) if step.waiting.is_some() && !self.keeps_promises(&step) => broken.push(index),
                _ => return Some(step),
            }
        }
    }

    /// The same without the rule: the first in the queue's order.
    fn next_in_order(&self, at: Instant, daily: bool) -> Option<Step<'a>> {
        let steps = self.lines.iter().enumerate().filter_map(|(index, line)| {
            let booking = line.bookings.front().map(|(ticket, _)| (*ticket, None));
            let (ticket, waiting) = booking.or(line.head.map(|(ticket, entry)| (ticket, Some(entry))))?;
            Some(Step {
                ticket,
                waiting,
                caller: Some(line.caller),
                at,
                daily,
                line: Some(index),
                tag: line.turns.next(),
                spread: at,
            })
        });
        steps.min_by_key(|step| (step.tag, step.line))
    }

    /// Whether the next step is too far in the future for the whole rule.
    fn is_deep(&self) -> bool {
        self.taken.len() > Self::depth(self.lines.len())
    }

    /// How many calls of so many callers are scheduled by the whole rule.
    pub(super) fn depth(callers: usize) -> usize {
        (MOST_WORK / callers.max(1)).clamp(LEAST_DEPTH, DEPTH)
    }

    /// `goes`: it uses its slot; otherwise it leaves.
    fn finish(&mut self, step: &Step<'a>, goes: bool) {
        if goes {
            self.taken.push(step.at);
            self.now = step.at;
        }
        let Some(index) = step.line else {
            self.front.next();
            return;
        };
        let weights = (goes && !self.is_deep()).then(|| self.weights());
        let line = &mut self.lines[index];
        match step.waiting {
            Some(_) => line.advance(),
            None => drop(line.bookings.pop_front()),
        }
        if goes {
            line.turns.take();
        }
        if goes && let Some(limits) = &self.outlook.callers {
            let (_, is_reserved) = limits.at(line.caller, line.taken_before(self.unreserved), step.at);
            line.taken += 1;
            line.reserved += usize::from(is_reserved);
            self.unreserved += usize::from(!is_reserved);
        }
        if let Some(weights) = weights {
            let own = line.own.to_mut();
            own.uses.expire(step.at);
            own.uses.occupy(step.at + self.recent.window, 1);
            if own.uses.total >= self.recent.light_below(line.caller, weights) {
                self.last = Some(step.of_spread());
            }
        }
        if line.is_empty() {
            self.absent.push((self.now, u64::from(line.caller.weight().get())));
            self.absent.retain(|(wanted, _)| *wanted + self.recent.window > self.now);
        }
    }

    // === The rule ===

    /// When this call may go.
    fn moment(&self, line: &Line<'a>, entry: &Entry, situation: &Situation) -> Instant {
        let allowed = self.allowed(line);
        let spread = self.spread(line, situation, allowed);
        // A promise comes before the spread, but not before the turns of others: they would never have theirs.
        let promised = entry.promised.filter(|_| self.has_next_turn(line));
        promised.map_or(spread, |promised| spread.min(allowed.max(promised)))
    }

    /// Whether no waiting call of another caller has an earlier turn.
    fn has_next_turn(&self, line: &Line<'a>) -> bool {
        let turn = |line: &Line<'a>| line.turns.after(line.bookings.len());
        self.lines.iter().filter(|other| other.head.is_some()).all(|other| turn(other) >= turn(line))
    }

    /// When a slot is free that neither others' reserves nor its caller's `max_share` keep from this line.
    fn allowed(&self, line: &Line<'a>) -> Instant {
        if let Some(limits) = &self.outlook.callers {
            let (own, is_reserved) = limits.at(line.caller, line.taken_before(self.unreserved), self.now);
            // No call of others can take the slot of the route that belongs to a reserve.
            let reserved = is_reserved.then(|| self.outlook.at_before_others(self.taken.len()).0);
            return own.max(reserved.unwrap_or_else(|| self.slot(0).0)).max(line.passed_until.unwrap_or(self.now));
        }
        let share = line.caller.terms().max_share.and_then(|most| line.own.falls_below(most.get(), self.now));
        let share = share.unwrap_or(self.now);
        let mut at = share.max(self.slot(0).0);
        // While the call waits, uses of others get a window old, and their reserves hold back slots for them again.
        for _ in 0..=self.recent.reserves.len() {
            let later = share.max(self.slot(self.held_back(line, at)).0);
            if later <= at {
                break;
            }
            at = later;
        }
        at
    }

    /// How many free slots the reserves of others hold back at this moment: none if the slots keep to reserves themselves.
    fn held_back(&self, line: &Line<'a>, at: Instant) -> usize {
        if self.outlook.callers.is_some() {
            return 0;
        }
        let others = self.lines.iter().filter(|other| other.caller != line.caller);
        let others = others.map(|other| (Some(&*other.own), other.reserve)).chain(self.absent_reserves.iter().copied());
        let unused = |(own, reserve): (Option<&CallerUse>, u32)| {
            if reserve == 0 {
                0
            } else {
                reserve.saturating_sub(own.map_or(0, |own| own.uses.count_after(at))) as usize
            }
        };
        others.map(unused).sum()
    }

    /// When the spread lets the head of this line go, from `allowed` on.
    fn spread(&self, line: &Line<'a>, situation: &Situation, allowed: Instant) -> Instant {
        if !self.recent.is_fair {
            return allowed;
        }
        let light = line.own.falls_below(self.recent.light_below(line.caller, situation.weights), allowed);
        let reserved = self.reserved(line, allowed);
        let earliest = [Some(situation.spread), light, situation.contended_until, reserved].into_iter().flatten().min();
        allowed.max(earliest.unwrap_or(allowed))
    }

    /// When the caller of this line has a slot of its reserve. It takes none from newcomers, for whom the spread is.
    fn reserved(&self, line: &Line<'a>, allowed: Instant) -> Option<Instant> {
        match &self.outlook.callers {
            Some(limits) => limits.reserved_at(line.caller, line.reserved),
            None => line.own.falls_below(line.reserve, allowed),
        }
    }

    /// Whether every booking before this call still has a slot at its promised time, if the call takes one. A booking
    /// keeps no slot free for longer than its time was rounded up.
    fn keeps_promises(&self, step: &Step<'a>) -> bool {
        let before = self.lines.iter().enumerate().flat_map(|(index, line)| {
            let bookings = line.bookings.iter().take(self.outlook.requests()).enumerate();
            let before = move |(own, _): &(usize, _)| (line.turns.after(*own), Some(index)) < (step.tag, step.line);
            let near = bookings.take_while(before).filter(|(_, (_, promised))| *promised <= step.at + ROUNDING);
            near.map(move |(_, (_, promised))| (step.at.max(*promised), line))
        });
        let mut before: Vec<_> = before.collect();
        before.sort_unstable_by_key(|(at, _)| *at);
        before.truncate(self.outlook.requests());
        let own = step.line.map(|index| &self.lines[index]);
        let is_reserved = own.and_then(|own| self.reserved(own, step.at)).is_some_and(|at| at <= step.at);
        let taken = |line: &Line<'a>| {
            // A slot of its reserve is one that others could not have.
            let takes_none = is_reserved && own.is_some_and(|own| own.caller != line.caller);
            usize::from(!takes_none)
        };
        let mut before = before.into_iter().enumerate();
        before.all(|(index, (at, line))| self.slot(index + taken(line) + self.held_back(line, at)).0 <= at)
    }

    fn situation(&self) -> Situation {
        if !self.recent.is_fair {
            return Situation { contended_until: None, weights: 0, spread: self.now };
        }
        let several = self.lines.iter().filter(|line| !line.is_empty()).nth(1).is_some();
        let until = self.absent.iter().map(|(wanted, _)| *wanted + self.recent.window).max();
        let contended_until = (!several).then_some(until.map_or(self.now, |until| until.max(self.now)));
        let contended = contended_until.is_none_or(|until| until > self.now);
        let spread = if contended { self.next_of_spread() } else { self.now };
        Situation { contended_until, weights: self.weights(), spread }
    }

    fn weights(&self) -> u64 {
        let waiting = self.lines.iter().filter(|line| !line.is_empty());
        let waiting: u64 = waiting.map(|line| u64::from(line.caller.weight().get())).sum();
        waiting + self.absent.iter().map(|(_, weight)| weight).sum::<u64>()
    }

    fn next_of_spread(&self) -> Instant {
        let Some(last) = self.last else { return self.now };
        let per_slot = |index: u32| self.slot(index as usize).0.saturating_duration_since(last) / (index + 1);
        let known = self.outlook.requests().min(LOOKAHEAD) as u32;
        let interval = (0..known).map(per_slot).max().unwrap_or_default();
        last + interval.max(self.recent.window / self.recent.requests)
    }

    /// When the slot after `before` others is available, and whether a shared limit decides that.
    fn slot(&self, before: usize) -> (Instant, bool) {
        let index = self.taken.len() + before;
        self.known.get(index).copied().unwrap_or_else(|| self.slot_at(index))
    }

    fn slot_at(&self, index: usize) -> (Instant, bool) {
        let (first, daily) = self.outlook.at(index);
        let again = self.outlook.again(index, &self.taken);
        (again.map_or(first, |again| again.max(first)), daily)
    }
}

impl Step<'_> {
    /// From when on the spread counts its next slot. The rounding of many bookings must not add up.
    fn of_spread(&self) -> Instant {
        let rounding = if self.waiting.is_none() { ROUNDING } else { Duration::ZERO };
        let earliest = self.at.checked_sub(rounding).unwrap_or(self.at);
        self.spread.clamp(earliest, self.at)
    }
}

impl Situation {
    fn is_light(&self, line: &Line<'_>, recent: &RecentUse, now: Instant) -> bool {
        line.own.uses.count_after(now) < recent.light_below(line.caller, self.weights)
    }
}
