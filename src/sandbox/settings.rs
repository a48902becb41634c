//! The settings of a sandbox: thresholds, delays, short-lived tokens, and the form of a lock's answer.

use std::time::Duration;

use super::meter::Rule;

/// The threshold of most published People calls; Calendar publishes none and uses the same here.
const REQUESTS: u32 = 30;

/// "Number of API calls allowed within a minute."
const WINDOW: Duration = Duration::from_secs(60);

/// The lock period that accompanies nearly every threshold of 30.
const LOCK: Duration = Duration::from_secs(5 * 60);

/// "10 access tokens per refresh token in ten minutes."
const TOKEN_REQUESTS: u32 = 10;

/// How long Zoho's access tokens live.
const TOKEN_LIFE: Duration = Duration::from_secs(60 * 60);

/// The behaviour of a sandbox; the default is Zoho as its pages describe it, without delays.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Calls allowed per window, for every API, instead of 30.
    pub requests: Option<u32>,
    /// The length of the rolling window, instead of 60 s.
    pub window: Option<Duration>,
    /// How long an API stays locked, instead of 5 min.
    pub lock: Option<Duration>,
    /// People and Calendar calls are delayed by a random time up to this before they are counted, and again before the
    /// answer.
    pub delay: Duration,
    /// Token calls allowed per refresh token in ten minutes; one more blocks it for ten.
    pub token_requests: u32,
    /// How long an access token lives. Answers state it in whole seconds, at least 1, even if it is shorter.
    pub token_life: Duration,
    /// How long the answer to a token call takes; the token's life starts before that.
    pub token_delay: Duration,
    /// How People answers a call to a locked API.
    pub lock_answer: LockAnswer,
    /// Whether undocumented calls succeed too.
    pub lenient: bool,
}

impl Settings {
    /// The threshold in force, for every API.
    pub(super) fn rule(&self) -> Rule {
        Rule {
            requests: self.requests.unwrap_or(REQUESTS),
            window: self.window.unwrap_or(WINDOW),
            lock: self.lock.unwrap_or(LOCK),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            requests: None,
            window: None,
            lock: None,
            delay: Duration::ZERO,
            token_requests: TOKEN_REQUESTS,
            token_life: TOKEN_LIFE,
            token_delay: Duration::ZERO,
            lock_answer: LockAnswer::default(),
            lenient: false,
        }
    }
}

/// The form of People's answer to a locked call. Code 7209 is certain, its HTTP status is not: several are reported.
///
/// Calendar documents one answer, HTTP 429, and always gives that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LockAnswer {
    /// HTTP 429, code 7209 in the body.
    #[default]
    Status429,
    /// HTTP 400, code 7209 in the body.
    Status400,
    /// HTTP 200, code 7209 in the body: a failure that looks like success.
    Status200,
    /// HTTP 200 as well, with `errors` as an array, as Timetracker writes it.
    Status200Array,
}
