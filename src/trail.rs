//! What became of a call at Zoho, for the audit, and for the answer to a call that is cut off. It is shared by all attempts
//! of the call.

use std::sync::Arc;

use http::StatusCode;
use parking_lot::Mutex;

/// The trail that a call leaves. The edge keeps one for each request.
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
    /// That answer is certain to mean "not executed": the call is about to be sent again.
    pub repeats: bool,
}

/// What is known of a call that ends without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// No byte of it left.
    NotSent,
    /// It was sent, and Zoho answered that it did not execute it.
    NotExecuted,
    /// It was sent, and Zoho may have executed it.
    Unknown,
}

impl Steps {
    /// What becomes of the call if it ends here.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self { attempts: 0, .. } => Fate::NotSent,
            Self { under_way: false, repeats: true, .. } => Fate::NotExecuted,
            // A server's error does not tell how far the server came.
            _ => Fate::Unknown,
        }
    }
}

impl Trail {
    /// One that somebody looks at.
    #[must_use]
    pub fn kept() -> Self {
        Self(Some(Arc::default()))
    }

    /// How things stand; nothing of a call whose trail is not kept.
    #[must_use]
    pub fn steps(&self) -> Steps {
        self.0.as_ref().map(|steps| *steps.lock()).unwrap_or_default()
    }

    /// What becomes of the call if it ends now.
    #[must_use]
    pub fn fate(&self) -> Fate {
        self.steps().fate()
    }

    /// To be called just before the first byte may leave.
    pub fn sends(&self) {
        self.step(|steps| {
            steps.attempts += 1;
            steps.under_way = true;
        });
    }

    /// Zoho did not execute the newest attempt, and the call is to be sent again.
    pub fn repeats(&self) {
        self.step(|steps| steps.repeats = true);
    }

    /// It is certain that no byte of this attempt left after all; may be told twice.
    pub fn not_sent(&self) {
        self.step(|steps| {
            steps.attempts = steps.attempts.saturating_sub(u32::from(steps.under_way));
            steps.under_way = false;
        });
    }

    /// The answer's head is there. A status other than 2xx says already that the call was not executed.
    pub fn answered(&self, status: StatusCode) {
        self.step(|steps| {
            steps.under_way = false;
            steps.repeats = false;
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
        trail.sends();
        assert!(trail.steps().under_way);
        trail.not_sent();
        let status = Some(StatusCode::TOO_MANY_REQUESTS);
        let steps = Steps { attempts: 1, status, executed: Some(false), ..Steps::default() };
        assert_eq!(trail.steps(), steps);
    }

    #[test]
    fn the_fate_of_a_call_follows_its_newest_attempt() {
        let trail = Trail::kept();
        assert_eq!(trail.fate(), Fate::NotSent);
        trail.sends();
        assert_eq!(trail.fate(), Fate::Unknown, "no answer yet");
        trail.not_sent();
        assert_eq!(trail.fate(), Fate::NotSent, "there was no connection");
        trail.sends();
        trail.answered(StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(trail.fate(), Fate::Unknown, "its body is still to come");
        trail.repeats();
        assert_eq!(trail.fate(), Fate::NotExecuted, "its body told of a lock");
        trail.sends();
        assert_eq!(trail.fate(), Fate::Unknown, "the second attempt has no answer yet");
        trail.not_sent();
        assert_eq!(trail.fate(), Fate::NotExecuted, "the second attempt did not leave either");
        trail.sends();
        trail.answered(StatusCode::OK);
        assert_eq!(trail.fate(), Fate::Unknown);
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
}
