//! A limiter's decisions in virtual time, without tasks: the tests and the simulation move the clock.

use std::{collections::VecDeque, num::NonZeroU32, sync::Arc, time::Duration};

use http::StatusCode;
use tokio::time::Instant;

use super::{
    super::{
        Backend, Caller, Denied, Grant, Key, LimitSpec, RecordedBackend, SlotRequest, Slots, Step, caller::Terms,
        queue::Ticket, waiter_signal::WaiterSignal,
    },
    Refused,
    recent_use::RecentUse,
    state::LimiterState,
};
use crate::{
    ledger::{LimiterContext, Limits, RouteLimiter, tests::threshold_of},
    os::clock,
    zoho::catalogue::Pace,
};

/// A limiter, its waiting calls, and a clock.
pub(super) struct Trial {
    pub(super) state: LimiterState,
    slots: Arc<dyn Slots>,
    pub(super) start: Instant,
    pub(super) now: Instant,
    /// How long each answer takes.
    pub(super) trip: Duration,
    in_flight: VecDeque<(Instant, Grant)>,
    waiting: Vec<Waiting>,
    /// When slots were taken, and by whom.
    pub(super) sent: Vec<(Instant, Caller)>,
}

struct Waiting {
    number: usize,
    ticket: Ticket,
    request: SlotRequest,
}

/// What becomes of a call that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrived {
    Goes,
    Waits,
    Refused(Refused),
}

/// What becomes of a call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// The caller's number for the call.
    pub(super) number: usize,
    pub(super) at: Instant,
    pub(super) refused: Option<Refused>,
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn caller(name: &str, weight: u32) -> Caller {
    caller_with(name, Terms { weight: NonZeroU32::new(weight).unwrap(), ..Terms::default() })
}

pub(super) fn caller_with(name: &str, terms: Terms) -> Caller {
    Caller::with_terms(name, terms)
}

impl Trial {
    /// Of a route of this many slots a minute.
    pub(super) fn new(requests: u32, pace: Pace, reserving: &[Caller]) -> Self {
        let threshold = threshold_of(requests, seconds(60), pace);
        let spec = LimitSpec::own(Key::default(), threshold);
        let context = LimiterContext::in_memory(Limits::NOBODY);
        let nobody = Arc::downgrade(&RouteLimiter::new(spec.clone(), Vec::new(), &[], context));
        let slots: Arc<dyn Slots> = RecordedBackend::in_memory().slots(spec, Vec::new(), &[], nobody).into();
        let state = LimiterState::new(Arc::clone(&slots), RecentUse::new(&threshold, reserving));
        let start = clock::now();
        let (in_flight, waiting, sent) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { state, slots, start, now: start, trip: Duration::ZERO, in_flight, waiting, sent }
    }

    /// The same with answers that take this long.
    pub(super) fn with_trip(self, trip: Duration) -> Self {
        Self { trip, ..self }
    }

    /// The seconds since the start.
    pub(super) fn at(&self, moment: Instant) -> f64 {
        (moment - self.start).as_secs_f64()
    }

    /// A call that waits this long at most.
    pub(super) fn call(&mut self, caller: &Caller, wait: Duration, number: usize) -> Arrived {
        let request = SlotRequest { caller: caller.clone(), ..SlotRequest::plain(self.now + wait) };
        self.request(request, number)
    }

    /// As `RouteLimiter::enter`.
    pub(super) fn request(&mut self, request: SlotRequest, number: usize) -> Arrived {
        let now = self.now;
        if let Some(grant) = self.state.take_at_once(&request.caller, now) {
            self.sends(grant, &request.caller);
            return Arrived::Goes;
        }
        self.state.want(&request.caller, now);
        let (ticket, delays) = self.state.join(&request, Arc::new(WaiterSignal::default()), now);
        let (at, verdict) = self.state.admits(ticket, &request, now);
        if at <= now
            && let Ok(grant) = self.state.take(ticket, &request.caller, now)
        {
            self.sends(grant, &request.caller);
            return Arrived::Goes;
        }
        if let Err(refused) = verdict {
            return Arrived::Refused(self.state.refuse(ticket, &request, refused, now));
        }
        self.waiting.push(Waiting { number, ticket, request });
        if delays {
            self.state.review(now);
        }
        Arrived::Waits
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Moves the clock. Returns what became of calls that waited, in order.
    pub(super) fn run_until(&mut self, until: Instant) -> Vec<Ended> {
        let mut all = Vec::new();
        while self.now < until {
            all.extend(self.run_until_some_end(until));
        }
        all
    }

    /// Moves the clock, at most until a waiting call ends.
    pub(super) fn run_until_some_end(&mut self, until: Instant) -> Vec<Ended> {
        let mut ended = Vec::new();
        loop {
            self.answers();
            self.refusals(&mut ended);
            let next = self.serve(&mut ended);
            if !ended.is_empty() {
                return ended;
            }
            let answer = self.in_flight.front().map(|(at, _)| *at);
            let next = [next, answer].into_iter().flatten().min().filter(|next| *next < until);
            match next {
                Some(next) => self.now = next.max(self.now + Duration::from_nanos(1)),
                None => break,
            }
        }
        self.now = until;
        self.answers();
        ended
    }

    /// Serves all that may go now. Returns when to look again.
    fn serve(&mut self, ended: &mut Vec<Ended>) -> Option<Instant> {
        loop {
            let next = self.state.next(self.now)?;
            if next.at > self.now {
                return Some(next.at);
            }
            let index = self.waiting.iter().position(|waiting| waiting.ticket == next.ticket)?;
            let caller = self.waiting[index].request.caller.clone();
            match self.state.take(next.ticket, &caller, self.now) {
                Ok(grant) => {
                    let number = self.waiting.remove(index).number;
                    self.sends(grant, &caller);
                    ended.push(Ended { number, at: self.now, refused: None });
                }
                Err(Denied::Until(at)) => return Some(at),
                Err(Denied::Unanswered | Denied::ForCaller) => return None,
            }
        }
    }

    fn refusals(&mut self, ended: &mut Vec<Ended>) {
        let (now, state) = (self.now, &mut self.state);
        self.waiting.retain(|waiting| {
            let refused = state.take_refusal(waiting.ticket, &waiting.request, now);
            if refused.is_some() {
                ended.push(Ended { number: waiting.number, at: now, refused });
            }
            refused.is_none()
        });
    }

    fn sends(&mut self, grant: Grant, caller: &Caller) {
        self.sent.push((self.now, caller.clone()));
        self.in_flight.push_back((self.now + self.trip, grant));
        self.answers();
    }

    fn answers(&mut self) {
        while let Some((_, grant)) = self.in_flight.pop_front_if(|(at, _)| *at <= self.now) {
            let answered = Step::Answered { sent_at: self.now - self.trip, status: StatusCode::OK };
            self.slots.note(grant, &answered, self.now);
            self.slots.note(grant, &Step::Judged { executed: true }, self.now);
        }
    }
}
