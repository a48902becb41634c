//! The slots of a route, as far as this member holds them.

use std::{
    future::ready,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::RwLock;
use tokio::{sync::Notify, time::Instant};

use super::{
    account::{AccountState, SharedAccount, now},
    limit::LimitSettings,
    limit_sets::LimitSets,
    member::Member,
    timing::BEAT,
};
use crate::{
    ledger::{
        AfterLoss, Caller, LimitSpec, LockHit, Slots, Step,
        forecast::Forecast,
        slots::{Allowance, CallerForecast, CallerForecasts, Outlook, Recorded, WaitingCalls},
        window::{Denied, Grant},
    },
    zoho::catalogue::Threshold,
};

/// The slots of one route.
#[derive(Debug)]
pub(super) struct SharedSlots {
    account: Arc<SharedAccount>,
    route: String,
    limits: Arc<RwLock<LimitSets>>,
    /// For each limit of all calls but the route's own, whether other routes count against it too.
    shared: Box<[bool]>,
    locks: Arc<Notify>,
}

impl SharedSlots {
    pub(super) fn new(
        account: Arc<SharedAccount>,
        own: &LimitSpec,
        wider: &[LimitSpec],
        callers: &[(Caller, u32)],
        calls: Weak<dyn WaitingCalls>,
    ) -> Self {
        let all = [own].into_iter().chain(wider).map(|spec| spec.key.limit.clone()).collect();
        let limits = LimitSets::new(all, own.threshold, callers);
        {
            let (mut state, now) = (account.state.lock(), now().monotonic);
            set_limits(&mut state.member, own, wider, now);
            set_additional(&mut state.member, &limits, now);
        }
        let (route, limits, locks) = (own.key.limit.clone(), Arc::new(RwLock::new(limits)), Arc::new(Notify::new()));
        account.add_route(route.clone(), Arc::clone(&limits), calls, Arc::clone(&locks));
        account.news.notify_one();
        let shared = wider.iter().map(|spec| spec.shared).collect();
        Self { account, route, limits, shared, locks }
    }

    /// Changes the account, and tells its task if that is news.
    fn with_state<T>(&self, change: impl FnOnce(&mut AccountState) -> T) -> T {
        let mut state = self.account.state.lock();
        let result = change(&mut state);
        if state.member.has_news() {
            self.account.news.notify_one();
        }
        result
    }
}

/// Adds the limits of all calls, or changes them.
fn set_limits(member: &mut Member, own: &LimitSpec, wider: &[LimitSpec], now: Instant) {
    let settings = |spec: &LimitSpec, alone| LimitSettings {
        threshold: spec.threshold,
        spare: if spec.after_loss == AfterLoss::AllButOne { 1 } else { 0 },
        alone,
    };
    member.set_limit(&own.key.limit, settings(own, true), now);
    for spec in wider {
        member.set_limit(&spec.key.limit, settings(spec, false), now);
    }
}

/// The same for those that not all calls count against.
fn set_additional(member: &mut Member, limits: &LimitSets, now: Instant) {
    for (name, settings) in &limits.additional {
        member.set_limit(name, *settings, now);
    }
}

/// When the limits of single callers have slots.
fn caller_forecasts(member: &mut Member, limits: &LimitSets, now: Instant) -> CallerForecasts {
    let mut of = |name: &Option<String>| Some(forecast(member, name.as_ref()?, now)?.0);
    let callers = limits.callers().map(|(caller, own)| {
        let forecast = CallerForecast { max_share: of(&own.max_share), reserve: of(&own.reserve) };
        (caller.clone(), forecast)
    });
    let callers = callers.collect();
    CallerForecasts { unreserved: of(&limits.unreserved), callers }
}

/// When a limit has slots, and how many calls of other members wait for one.
fn forecast(member: &mut Member, name: &str, now: Instant) -> Option<(Forecast, u32)> {
    let shut_until = member.shut_until(member.limits.get(name)?, now);
    let limit = member.limits.get_mut(name)?;
    Some((limit.forecast(shut_until, now), limit.waiting))
}

impl Slots for SharedSlots {
    fn take(&self, caller: Option<&Caller>, _now: Instant) -> Result<Grant, Denied> {
        self.with_state(|state| {
            let (now, sets) = (now(), self.limits.read());
            for number in sets.numbers(caller) {
                let limits = sets.limits(*number);
                match state.member.take(limits, now) {
                    Ok(mut grant) => {
                        grant.limits = *number;
                        return Ok(grant);
                    }
                    Err((index, denied)) if index < sets.all().len() => return Err(denied),
                    // Another member may have a slot of this caller's reserve: the record is asked first.
                    Err((index, _)) if !state.member.asked_in_vain(&limits[index]) => break,
                    Err(_) => {}
                }
            }
            Err(Denied::ForCaller)
        })
    }

    fn recorded(&self) -> Recorded<'_> {
        // The record has at least what this member holds.
        Box::pin(ready(Ok(())))
    }

    fn note(&self, grant: Grant, step: &Step, now: Instant) {
        self.with_state(|state| state.member.note(self.limits.read().limits(grant.limits), grant, step, now));
    }

    fn change(&self, own: &LimitSpec, wider: &[LimitSpec], _past: Option<&[Instant]>, now: Instant) {
        // The calls of other gateways are not known, so those of this one do not help.
        self.with_state(|state| set_limits(&mut state.member, own, wider, now));
        self.locks.notify_waiters();
    }

    fn change_callers(&self, threshold: Threshold, callers: &[(Caller, u32)], now: Instant) {
        self.with_state(|state| {
            let mut limits = self.limits.write();
            limits.change(threshold, callers);
            set_additional(&mut state.member, &limits, now);
        });
    }

    fn lock(&self, retry_after: Option<Duration>, now: Instant) -> Option<LockHit> {
        let hit = self.with_state(|state| state.member.lock(&self.route, retry_after, now));
        self.locks.notify_waiters();
        hit
    }

    fn lift_lock(&self, now: Instant) -> bool {
        self.with_state(|state| state.member.lift_lock(&self.route, now))
    }

    fn locks(&self) -> &Notify {
        &self.locks
    }

    fn held_back(&self, grant: Grant) -> Option<Instant> {
        self.account.state.lock().member.held_back(&self.route, grant, now())
    }

    fn are_shared(&self) -> bool {
        true
    }

    fn asking_takes(&self) -> Duration {
        if self.account.state.lock().failure.is_none() { BEAT } else { Duration::ZERO }
    }

    fn is_failing(&self) -> bool {
        false
    }

    fn can_take(&self, now: Instant) -> bool {
        let mut state = self.account.state.lock();
        state.member.in_touch(super::account::now())
            && (self.limits.read().all().iter())
                .all(|name| state.member.limits.get_mut(name).is_some_and(|limit| limit.window.check(now).is_ok()))
    }

    fn allowance(&self, now: Instant) -> Allowance {
        let mut state = self.account.state.lock();
        let limits = self.limits.read();
        let mut quotas =
            limits.all().iter().map(|name| state.member.limits.get_mut(name).map(|limit| limit.quota(now)));
        let mut route = quotas.next().flatten();
        let mut daily = None;
        for (quota, shared) in quotas.zip(&self.shared) {
            match (quota, shared) {
                (Some(quota), true) => daily = Some(quota),
                (Some(quota), false) if route.is_none_or(|route| quota.is_tighter_than(&route)) => route = Some(quota),
                _ => {}
            }
        }
        Allowance { route: route.expect("`new` adds each limit"), daily }
    }

    fn outlook(&self, monotonic: Instant) -> Outlook {
        let mut state = self.account.state.lock();
        let member = &mut state.member;
        let unreachable = !member.in_touch(now());
        let (limits, shared) = (self.limits.read(), [false].iter().chain(&self.shared));
        let forecasts = limits.all().iter().zip(shared).filter_map(|(name, shared)| {
            let (forecast, waiting) = forecast(member, name, monotonic)?;
            Some((forecast, *shared, waiting))
        });
        let (mut others, mut all) = (0, Vec::new());
        for (forecast, shared, waiting) in forecasts {
            others = others.max(waiting as usize);
            all.push((forecast, shared));
        }
        let callers = (!limits.additional.is_empty()).then(|| caller_forecasts(member, &limits, monotonic));
        let own = member.limits.get(&self.route).map(|limit| &limit.window);
        let locked_until = own.and_then(|window| window.locked_until(monotonic));
        let unanswered = own.is_some_and(|window| window.is_unanswered());
        Outlook { now: monotonic, forecasts: all, locked_until, unanswered, unreachable, others, callers }
    }
}
