//! What became of a call at Zoho, for whoever keeps a record of it. It is shared by all attempts of the call.

use std::{fmt::Debug, future::Future, pin::Pin, sync::Arc};

use http::StatusCode;
use parking_lot::Mutex;

/// The trail that a call leaves. Nobody looks at that of most calls, and they keep none.
#[derive(Debug, Clone, Default)]
pub struct Trail(Option<Arc<Kept>>);

#[derive(Debug)]
struct Kept {
    steps: Mutex<Steps>,
    recorder: Arc<dyn Recorder>,
}

/// Who records each attempt before it is sent.
pub trait Recorder: Debug + Send + Sync {
    /// Resolves when it is recorded that attempt number `attempt` is about to be sent.
    fn sending(&self, attempt: u32) -> Pin<Box<dyn Future<Output = Result<(), Unrecorded>> + Send + '_>>;
}

/// The attempt could not be recorded, so it must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unrecorded;

/// The attempts so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps {
    /// An attempt was recorded before it was sent.
    pub announced: bool,
    /// How often it was sent.
    pub attempts: u32,
    /// The newest attempt has no answer.
    pub under_way: bool,
    /// The status of the newest answer, whatever became of its body.
    pub status: Option<StatusCode>,
    /// Whether that answer says that the call was executed; `None` where it broke off before it could say so.
    pub executed: Option<bool>,
}

impl Trail {
    /// One that somebody looks at, and whose attempts `recorder` records before they are sent.
    #[must_use]
    pub fn kept(recorder: Arc<dyn Recorder>) -> Self {
        Self(Some(Arc::new(Kept { steps: Mutex::default(), recorder })))
    }

    /// How things stand; nothing of a call whose trail is not kept.
    #[must_use]
    pub fn steps(&self) -> Steps {
        self.0.as_ref().map(|kept| *kept.steps.lock()).unwrap_or_default()
    }

    /// To be awaited before an attempt is sent: it resolves when the attempt is recorded.
    ///
    /// # Errors
    /// [`Unrecorded`], when it must not be sent.
    pub async fn announced(&self) -> Result<(), Unrecorded> {
        let Some(kept) = &self.0 else { return Ok(()) };
        let attempt = {
            let mut steps = kept.steps.lock();
            steps.announced = true;
            steps.attempts.saturating_add(1)
        };
        kept.recorder.sending(attempt).await
    }

    /// To be called just before the first byte may leave.
    pub fn sends(&self) {
        self.step(|steps| {
            steps.attempts += 1;
            steps.under_way = true;
        });
    }

    /// It is certain that no byte of this attempt left after all.
    pub fn not_sent(&self) {
        self.step(|steps| {
            steps.attempts = steps.attempts.saturating_sub(1);
            steps.under_way = false;
        });
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
        if let Some(kept) = &self.0 {
            change(&mut kept.steps.lock());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records which attempts it was told of.
    #[derive(Debug, Default)]
    struct Attempts(Mutex<Vec<u32>>);

    impl Recorder for Attempts {
        fn sending(&self, attempt: u32) -> Pin<Box<dyn Future<Output = Result<(), Unrecorded>> + Send + '_>> {
            self.0.lock().push(attempt);
            Box::pin(async { Ok(()) })
        }
    }

    fn kept() -> Trail {
        Trail::kept(Arc::new(Attempts::default()))
    }

    #[tokio::test]
    async fn an_attempt_that_was_not_sent_gives_its_number_to_the_next() {
        let attempts = Arc::new(Attempts::default());
        let trail = Trail::kept(attempts.clone());
        for sent in [false, true, true] {
            trail.announced().await.unwrap();
            trail.sends();
            if !sent {
                trail.not_sent();
            }
        }
        assert_eq!(*attempts.0.lock(), [1, 1, 2]);
        assert!(Trail::default().announced().await.is_ok());
    }

    #[test]
    fn an_attempt_that_was_not_sent_leaves_the_one_before_standing() {
        let trail = kept();
        trail.sends();
        trail.answered(StatusCode::TOO_MANY_REQUESTS);
        trail.sends();
        assert!(trail.steps().under_way);
        trail.not_sent();
        let status = Some(StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            trail.steps(),
            Steps { announced: false, attempts: 1, under_way: false, status, executed: Some(false) }
        );
    }

    #[test]
    fn only_a_good_status_waits_for_its_body() {
        let trail = kept();
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
