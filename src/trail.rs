//! What became of a call at Zoho, for whoever keeps a record of it. It is shared by all attempts of the call.

use std::sync::Arc;

use http::StatusCode;
use parking_lot::Mutex;

/// The trail that a call leaves. Nobody looks at that of most calls, and they keep none.
#[derive(Debug, Clone, Default)]
pub struct Trail(Option<Arc<Mutex<Steps>>>);

/// The attempts so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps {
    /// How often it was sent.
    pub attempts: u32,
    /// The newest attempt has no answer.
    pub under_way: bool,
    /// The status of the newest answer, whatever became of its body.
    pub status: Option<StatusCode>,
    /// Whether that answer says that the call was executed; `None` where it broke off before it could say so.
    pub executed: Option<bool>,
    /// Zoho may have executed an attempt, all of it or a part: it was sent, and Zoho did not refuse it unexecuted.
    pub may_be_executed: bool,
}

impl Trail {
    /// One that somebody looks at.
    #[must_use]
    pub fn kept() -> Self {
        Self(Some(Arc::default()))
    }

    /// The same trail, kept from here on.
    #[must_use]
    pub fn or_kept(self) -> Self {
        Self(self.0.or_else(|| Some(Arc::default())))
    }

    /// How things stand; nothing of a call whose trail is not kept.
    #[must_use]
    pub fn steps(&self) -> Steps {
        self.0.as_ref().map(|steps| *steps.lock()).unwrap_or_default()
    }

    /// To be called just before the first byte may leave.
    pub fn sends(&self) {
        self.step(|steps| {
            steps.attempts += 1;
            steps.under_way = true;
            steps.may_be_executed = true;
        });
    }

    /// It is certain that no byte of this attempt left after all.
    pub fn not_sent(&self) {
        self.step(|steps| {
            steps.attempts = steps.attempts.saturating_sub(1);
            steps.under_way = false;
            steps.may_be_executed = false;
        });
    }

    /// The answer says that Zoho refused this attempt unexecuted. Only after such an answer there is another attempt.
    pub fn refused(&self) {
        self.step(|steps| steps.may_be_executed = false);
    }

    /// The answer's head is there. A status other than 2xx says already that the call was not executed.
    pub fn answered(&self, status: StatusCode) {
        self.step(|steps| {
            steps.under_way = false;
            steps.status = Some(status);
            steps.executed = (!status.is_success()).then_some(false);
        });
    }

    /// Whether the body of a 2xx answer says that the call was executed; asked only where somebody wants to know.
    pub fn judged(&self, executed: impl FnOnce() -> bool) {
        self.step(|steps| steps.executed = Some(steps.executed.unwrap_or_else(executed)));
    }

    fn step(&self, change: impl FnOnce(&mut Steps)) {
        if let Some(steps) = &self.0 {
            change(&mut steps.lock());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_was_not_sent_leaves_the_one_before_standing() {
        let trail = Trail::kept();
        trail.sends();
        trail.answered(StatusCode::TOO_MANY_REQUESTS);
        trail.refused();
        trail.sends();
        assert!(trail.steps().under_way && trail.steps().may_be_executed);
        trail.not_sent();
        let status = Some(StatusCode::TOO_MANY_REQUESTS);
        let left = Steps { attempts: 1, status, executed: Some(false), ..Steps::default() };
        assert_eq!(trail.steps(), left);
    }

    #[test]
    fn only_a_good_status_waits_for_its_body() {
        let trail = Trail::kept();
        trail.sends();
        trail.answered(StatusCode::OK);
        assert_eq!(trail.steps().executed, None);
        trail.judged(|| false);
        assert_eq!(trail.steps().executed, Some(false));
        trail.answered(StatusCode::BAD_GATEWAY);
        trail.judged(|| true);
        assert_eq!(trail.steps().executed, Some(false));
    }

    #[test]
    fn who_keeps_a_trail_shares_it_with_those_who_keep_it_already() {
        let outer = Trail::default().or_kept();
        let inner = outer.clone().or_kept();
        inner.sends();
        assert!(outer.steps().may_be_executed);
        assert_eq!(Trail::default().steps(), Steps::default());
    }

    #[test]
    fn what_zoho_refused_it_did_not_execute() {
        let trail = Trail::kept();
        assert!(!trail.steps().may_be_executed);
        trail.sends();
        assert!(trail.steps().may_be_executed, "no answer is no refusal");
        trail.answered(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(trail.steps().may_be_executed, "a part of it may be");
        trail.refused();
        assert!(!trail.steps().may_be_executed);
    }
}
