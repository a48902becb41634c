//! What a limiter decides under its mutex: which calls may wait, which is next, and which can no longer be served.

mod reports;

pub use reports::{CallerBookings, CallerQueue};

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    super::{
        Caller, SlotRequest,
        queue::{Queue, Ticket},
        queue_capacity::Limit,
        slots::{Outlook, Slots},
        waiter_signal::WaiterSignal,
        window::{Denied, Grant},
    },
    Refused,
    bookings::Bookings,
    entry::{Entry, Waiter},
    last_lock::LastLock,
    recent_use::RecentUse,
    schedule::Schedule,
};
use crate::zoho::catalogue::Threshold;

/// Added to a `Retry-After` that depends on a call without an answer.
const UNANSWERED_DELAY: Duration = Duration::from_secs(1);

/// The least time between two reviews of the queue, per waiter. A review takes about a tenth of this, so reviews cost
/// a few percent of one core.
const REVIEW_PER_WAITER: Duration = Duration::from_micros(2);

#[derive(Debug)]
pub(super) struct LimiterState {
    slots: Arc<dyn Slots>,
    /// Of the route's own limit and the wider ones.
    pub(super) thresholds: Box<[Threshold]>,
    pub(super) queue: Queue<Entry>,
    pub(super) recent: RecentUse,
    bookings: Bookings,
    /// The refusals of calls that were refused while they waited and have not read their refusal yet. Their entries stay.
    refusals: HashMap<Ticket, Refused>,
    pub(super) external_locks: u64,
    /// How many slots were free at these locks.
    pub(super) external_calls: u64,
    pub(super) last_lock: Option<LastLock>,
    /// When the gateway stops, once that is known.
    pub(super) closes: Option<Instant>,
    review: Review,
    /// The call that was last found to be next. It sleeps until it may go.
    on_duty: Option<Ticket>,
}

/// The next call, and when it may go at the earliest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) ticket: Ticket,
    pub(super) at: Instant,
}

/// A check whether all waiting calls can still be served in time.
#[derive(Debug, Default)]
struct Review {
    not_before: Option<Instant>,
    due: bool,
}

/// Whether a call that is served at this moment is served before its deadline and before the gateway stops.
fn admits(
    outlook: &Outlook,
    closes: Option<Instant>,
    (at, daily): (Instant, bool),
    deadline: Instant,
) -> Result<(), Refused> {
    if at > deadline {
        return Err(refused(outlook, (at, daily)));
    }
    if closes.is_some_and(|closes| at > closes) { Err(Refused::Closing) } else { Ok(()) }
}

/// The refusal of a call that would be served at this moment and cannot wait for it.
fn refused(outlook: &Outlook, (at, daily): (Instant, bool)) -> Refused {
    if outlook.unreachable {
        return Refused::Unrecorded;
    }
    if let (Some(until), false) = (outlook.locked_until, daily) {
        return Refused::Locked { retry_after: until.saturating_duration_since(outlook.now) };
    }
    let unanswered = if outlook.unanswered { UNANSWERED_DELAY } else { Duration::ZERO };
    let retry_after = at.saturating_duration_since(outlook.now) + unanswered;
    Refused::Saturated { retry_after, daily, position: None }
}

/// The whole seconds that `Retry-After` says for this time.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

impl LimiterState {
    pub(super) fn new(slots: Arc<dyn Slots>, recent: RecentUse) -> Self {
        let bookings = Bookings::new(recent.requests);
        Self {
            slots,
            thresholds: Box::default(),
            queue: Queue::new(),
            recent,
            bookings,
            refusals: HashMap::new(),
            external_locks: 0,
            external_calls: 0,
            last_lock: None,
            closes: None,
            review: Review::default(),
            on_duty: None,
        }
    }

    // === Arrival ===

    /// A slot for a call that comes while nobody waits and that no rule concerns.
    pub(super) fn take_at_once(&mut self, caller: &Caller, now: Instant) -> Option<Grant> {
        if !self.queue.is_empty() || !self.recent.is_unrestricted(caller, now) {
            return None;
        }
        let grant = self.slots.take(Some(caller), now).ok()?;
        self.recent.used(caller, now);
        Some(grant)
    }

    /// Whether [`take_at_once`](Self::take_at_once) would succeed now, regardless of the pace.
    pub(super) fn can_take_at_once(&self, caller: &Caller, now: Instant) -> bool {
        self.queue.is_empty() && self.recent.is_unrestricted(caller, now) && self.slots.can_take(now)
    }

    /// Adds a call to the queue: at its own booking if it has one, otherwise at the end of its caller's calls. Also returns
    /// whether earlier calls may now be served later.
    pub(super) fn join(&mut self, request: &SlotRequest, signal: Arc<WaiterSignal>, now: Instant) -> (Ticket, bool) {
        let may_book = self.bookings.accept(request);
        let waiter = Waiter {
            caller: request.caller.clone(),
            request_id: Arc::clone(&request.request_id),
            deadline: request.deadline,
            observer: request.observer.clone(),
            signal,
            may_book,
        };
        if let Some(ticket) = self.bookings.take(request, now)
            && let Some(entry) = self.queue.get_mut(ticket)
        {
            entry.waiter = Some(waiter);
            return (ticket, false);
        }
        let entry = Entry { waiter: Some(waiter), promised: None };
        let joined = self.queue.join(&request.caller, request.arrival, request.urgency, now, entry);
        (joined.ticket, joined.delays)
    }

    /// Whether a call that has just joined can be served in time, and when.
    pub(super) fn admits(&self, ticket: Ticket, request: &SlotRequest, now: Instant) -> (Instant, Result<(), Refused>) {
        let outlook = self.slots.outlook(now);
        let moment = self.moment(ticket, &outlook);
        let verdict = if request.deadline <= now {
            Err(refused(&outlook, moment))
        } else {
            admits(&outlook, self.closes, moment, request.deadline)
        };
        let verdict = match verdict {
            Err(Refused::Saturated { .. }) => Err(refused(&outlook, self.moment_of_return(ticket, &outlook))),
            other => other,
        };
        (moment.0, verdict)
    }

    /// A slot for a call whose turn has come.
    pub(super) fn take(&mut self, ticket: Ticket, caller: &Caller, now: Instant) -> Result<Grant, Denied> {
        let own = (!ticket.is_requeued()).then_some(caller);
        let grant = self.slots.take(own, now).inspect_err(|denied| {
            if *denied == Denied::ForCaller {
                self.recent.pass(caller, now);
            }
        })?;
        self.queue.serve(ticket);
        self.bookings.served(caller);
        self.recent.used(caller, now);
        Ok(grant)
    }

    /// Removes a refused call from the queue, or books its turn there.
    pub(super) fn refuse(&mut self, ticket: Ticket, request: &SlotRequest, refused: Refused, now: Instant) -> Refused {
        let Refused::Saturated { retry_after, daily: false, .. } = refused else {
            self.queue.leave(ticket);
            return refused;
        };
        let ahead = self.queue.ahead_of(ticket);
        let entry = self.queue.get_mut(ticket).filter(|_| self.bookings.accept(request));
        let Some(entry) = entry else {
            self.queue.leave(ticket);
            return refused;
        };
        let promised = now + whole_seconds(retry_after);
        (entry.waiter, entry.promised) = (None, Some(promised));
        self.bookings.keep(ticket, request, promised, now);
        Refused::Saturated { retry_after, daily: false, position: Some(ahead) }
    }

    /// Undoes [`join`](Self::join).
    pub(super) fn withdraw(&mut self, ticket: Ticket, request: &SlotRequest, now: Instant) {
        match self.queue.get_mut(ticket) {
            Some(Entry { waiter, promised: Some(promised) }) => {
                *waiter = None;
                self.bookings.keep(ticket, request, *promised, now);
            }
            _ => drop(self.queue.leave(ticket)),
        }
    }

    /// The refusal of a call whose wait is over.
    pub(super) fn late(&self, ticket: Ticket, now: Instant) -> Refused {
        let outlook = self.slots.outlook(now);
        refused(&outlook, self.moment_of_return(ticket, &outlook))
    }

    /// A waiting call ends, unless its entry belongs to another call by now.
    pub(super) fn leave(&mut self, ticket: Ticket, signal: &Arc<WaiterSignal>) {
        let entry = self.queue.get(ticket);
        let own = entry.is_some_and(|entry| entry.waiter.as_ref().is_some_and(|own| Arc::ptr_eq(&own.signal, signal)));
        if own || self.refusals.remove(&ticket).is_some() {
            self.queue.leave(ticket);
        }
    }

    /// The refusal of a call that was refused while it waited.
    pub(super) fn take_refusal(&mut self, ticket: Ticket, request: &SlotRequest, now: Instant) -> Option<Refused> {
        let refused = self.refusals.remove(&ticket)?;
        Some(self.refuse(ticket, request, refused, now))
    }

    pub(super) fn full(&mut self, request: &SlotRequest, now: Instant, limit: Limit) -> Refused {
        let plain = SlotRequest { identity: None, ..request.clone() };
        Refused::Full { retry_after: self.expected(&plain, now), limit }
    }

    /// How long a new call would wait.
    pub(super) fn expected(&mut self, request: &SlotRequest, now: Instant) -> Duration {
        self.verdict(request, now).0
    }

    /// How long a new call would wait, and whether it would be refused. Changes nothing.
    pub(super) fn verdict(&mut self, request: &SlotRequest, now: Instant) -> (Duration, Result<(), Refused>) {
        self.refresh(now);
        let (ticket, _) = self.join(request, Arc::default(), now);
        let (at, mut verdict) = self.admits(ticket, request, now);
        if let Err(Refused::Saturated { daily: false, position, .. }) = &mut verdict {
            *position = self.bookings.accept(request).then(|| self.queue.ahead_of(ticket));
        }
        self.withdraw(ticket, request, now);
        (at.saturating_duration_since(now), verdict)
    }

    /// A call wants a slot.
    pub(super) fn want(&mut self, caller: &Caller, now: Instant) {
        self.recent.want(caller, now);
        self.refresh(now);
    }

    // === The schedule ===

    /// When this call is served if no other comes, and whether it waits for a limit that several routes share.
    fn moment(&self, ticket: Ticket, outlook: &Outlook) -> (Instant, bool) {
        self.moment_by(ticket, outlook, |schedule| schedule)
    }

    /// The same for a call that is refused and comes again at that time. Until then, those that wait now call on: without
    /// their calls, the time is too early, and the call is refused again and again.
    fn moment_of_return(&self, ticket: Ticket, outlook: &Outlook) -> (Instant, bool) {
        self.moment_by(ticket, outlook, Schedule::with_further_calls)
    }

    fn moment_by<'a>(
        &'a self,
        ticket: Ticket,
        outlook: &'a Outlook,
        of: impl FnOnce(Schedule<'a>) -> Schedule<'a>,
    ) -> (Instant, bool) {
        let ahead = self.queue.ahead_of(ticket);
        if self.is_plain(outlook.now) || ahead > Schedule::depth(self.queue.callers().count()) {
            return outlook.at(ahead);
        }
        let schedule = of(Schedule::new(&self.queue, &self.recent, outlook));
        schedule.find(|step| step.ticket == ticket).map_or_else(|| outlook.at(ahead), |step| (step.at, step.daily))
    }

    /// The next waiting call, and when it may go.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next> {
        self.refresh(now);
        if self.is_plain(now) {
            return self.queue.head().map(|ticket| Next { ticket, at: now });
        }
        let outlook = self.slots.outlook(now);
        let schedule = Schedule::new(&self.queue, &self.recent, &outlook);
        let step = schedule.find(|step| step.waiting.is_some()).map(|step| Next { ticket: step.ticket, at: step.at });
        // Behind very many bookings, any of the waiting calls looks again later.
        let next = step.or_else(|| Some(Next { ticket: self.some_waiting()?, at: now + self.recent.window }))?;
        // A booking whose call does not come leaves its slot to this call.
        let at = self.bookings.next_overdue(now).map_or(next.at, |overdue| next.at.min(overdue));
        Some(Next { at, ..next })
    }

    fn some_waiting(&self) -> Option<Ticket> {
        let entries = self.queue.lines().flat_map(|line| line.entries);
        entries.filter(|(_, entry)| entry.waiter.is_some()).map(|(ticket, _)| ticket).next()
    }

    /// Whether calls go in the queue's order as soon as slots come free, because no other rule concerns them.
    fn is_plain(&self, now: Instant) -> bool {
        let is_fair = self.recent.is_fair;
        let mut first: Option<&Caller> = None;
        let plain = |caller: &Caller| caller.terms().max_share.is_none();
        let mut one = self.queue.callers().all(|caller| plain(caller) && (!is_fair || first.replace(caller).is_none()));
        one &= !is_fair || self.recent.callers(now).all(|own| first.is_none_or(|first| *first == own.caller));
        one && self.bookings.is_empty() && self.recent.reserves.is_empty()
    }

    /// Brings what the schedule needs up to date.
    fn refresh(&mut self, now: Instant) {
        for caller in self.queue.callers() {
            self.recent.want(caller, now);
        }
        self.recent.expire(now);
        self.lapse(now);
    }

    fn lapse(&mut self, now: Instant) {
        for ticket in self.bookings.lapse(now) {
            // Its caller keeps the turn: a waiting call has had the slot.
            self.queue.leave(ticket);
        }
    }

    /// Wakes the next call.
    pub(super) fn wake_next(&mut self, now: Instant) {
        let next = self.next(now).map(|next| next.ticket);
        self.on_duty = next;
        let waiter = next.and_then(|next| self.queue.get(next)?.waiter.as_ref());
        if let Some(waiter) = waiter {
            waiter.signal.wake();
        }
    }

    /// A waiting call has found out which is next. If nobody waits for the turn of that one, it is woken.
    pub(super) fn found(&mut self, next: Ticket, by: Ticket) {
        if self.on_duty.replace(next) != Some(next)
            && next != by
            && let Some(waiter) = self.queue.get(next).and_then(|entry| entry.waiter.as_ref())
        {
            waiter.signal.wake();
        }
    }

    // === Reviews ===

    /// Reviews the queue after an event that may delay waiting calls: at once, unless the last review was just before.
    /// Then the next call does it a moment later, and has to be woken for that.
    pub(super) fn review(&mut self, now: Instant) {
        self.review.due = true;
        self.review_if_due(now);
    }

    /// Refuses all calls that can no longer be served in time. The others move up, unless those keep their turns.
    fn refuse_late_calls(&mut self, now: Instant) {
        self.refresh(now);
        let outlook = self.slots.outlook(now);
        let mut late = Vec::new();
        Schedule::new(&self.queue, &self.recent, &outlook).play(|step| {
            let Some(waiter) = step.waiting.and_then(|entry| entry.waiter.as_ref()) else { return false };
            let Err(refused) = admits(&outlook, self.closes, (step.at, step.daily), waiter.deadline) else {
                return false;
            };
            late.push((step.ticket, refused));
            !(waiter.may_book && matches!(refused, Refused::Saturated { daily: false, .. }))
        });
        for (ticket, refused) in late {
            let Some(entry) = self.queue.get_mut(ticket) else { continue };
            if let Refused::Saturated { retry_after, .. } = refused {
                entry.promised = Some(now + whole_seconds(retry_after));
            }
            if let Some(waiter) = entry.waiter.take() {
                self.refusals.insert(ticket, refused);
                waiter.signal.wake();
            }
        }
    }

    /// Refuses the waiting calls that an operator means. Returns their number.
    pub(super) fn refuse_selected(&mut self, means: impl Fn(&str, &str) -> bool, refused: Refused) -> usize {
        let lines = self.queue.lines().flat_map(|line| line.entries);
        let means = |waiter: &Waiter| means(waiter.caller.name(), &waiter.request_id);
        let meant = self.queue.front().chain(lines).filter(|(_, entry)| entry.waiter.as_ref().is_some_and(means));
        let meant: Vec<Ticket> = meant.map(|(ticket, _)| ticket).collect();
        for ticket in &meant {
            if let Some(waiter) = self.queue.get_mut(*ticket).and_then(|entry| entry.waiter.take()) {
                self.refusals.insert(*ticket, refused);
                waiter.signal.wake();
            }
        }
        meant.len()
    }

    /// When the next call has to call [`review_if_due`](Self::review_if_due).
    pub(super) fn next_review(&self) -> Option<Instant> {
        self.review.not_before.filter(|_| self.review.due)
    }

    /// Reviews the queue if that is due and the last review is long enough ago.
    pub(super) fn review_if_due(&mut self, now: Instant) {
        if self.review.due && self.review.not_before.is_none_or(|at| at <= now) {
            self.refuse_late_calls(now);
            let waiters = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
            self.review = Review { not_before: Some(now + REVIEW_PER_WAITER * waiters), due: false };
        }
    }
}
