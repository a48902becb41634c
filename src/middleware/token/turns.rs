//! One gateway at a time requests an account's token, and all gateways of a namespace use what it got.
//!
//! A turn ends by itself if its gateway dies. It only saves requests: how many reach the accounts server is decided by the
//! shared ledger, so a turn that two gateways believe to have costs one request.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    ledger::KeptToken,
    os::clock,
    redis::{Redis, Script},
    secret::random,
};

/// How long a turn lasts after its gateway was last heard.
const SPAN: Duration = Duration::from_secs(10);

/// How often a gateway says that it still makes its request.
const EXTENDED: Duration = Duration::from_secs(3);

/// The pause before asking again while another gateway has its turn. It doubles up to the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The records of one account's token requests on Redis, one for each pair of credentials.
#[derive(Debug, Clone)]
pub struct Turns {
    redis: Redis,
    script: Arc<Script>,
    /// How the keys of its records begin.
    prefix: String,
}

/// What a gateway that needs a token has to do.
#[derive(Debug)]
pub(super) enum Next {
    /// Make the request.
    Ours(Turn),
    /// Use this outcome of another gateway's request.
    Kept(KeptToken),
    /// Wait, because the last request failed.
    Paused(Pause),
}

/// The right to make the request, for a moment.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    key: String,
    name: String,
    /// How many requests failed in a row, over all gateways.
    pub(super) failures: u32,
}

/// Why no gateway makes a request for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) left: Duration,
    /// Whether the accounts server said that it got too many requests.
    pub(super) throttled: bool,
    pub(super) reason: String,
}

/// How a turn ended, if it changed anything for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ending {
    /// With an outcome for all, which is believed for `span` milliseconds.
    Outcome { sealed: String, span: u64 },
    /// With a failure, after which all wait for `span` milliseconds. If the gateway `had_token`, those without one do not.
    Pause { span: u64, throttled: bool, reason: String, failures: u32, had_token: bool },
}

impl Ending {
    pub(super) fn outcome(sealed: &[u8], span: Duration) -> Self {
        Self::Outcome { sealed: STANDARD.encode(sealed), span: millis(span) }
    }

    pub(super) fn pause(pause: Pause, failures: u32, had_token: bool) -> Self {
        let Pause { left, throttled, reason } = pause;
        Self::Pause { span: millis(left), throttled, reason, failures, had_token }
    }
}

/// The record cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoTurn(String);

#[derive(Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Request<'a> {
    Next {
        turn: &'a str,
        span: u64,
        seen: Option<String>,
        has_token: bool,
    },
    Extend {
        turn: &'a str,
        span: u64,
    },
    End {
        turn: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        ending: Option<Ending>,
    },
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Reply {
    Yours { failures: u32 },
    Kept { sealed: String, left: u64 },
    Busy,
    Paused { left: u64, throttled: bool, reason: String },
    Over,
    Ok,
}

impl Turns {
    /// Of this account.
    #[must_use]
    pub fn new(redis: Redis, account: &str) -> Self {
        // In a cluster the part in braces decides where the keys are.
        let prefix = format!("{}:{{{account}}}:token:", redis.namespace());
        Self { redis, script: Arc::new(Script::new(include_str!("turn.lua"))), prefix }
    }

    /// Waits until no other gateway makes a request with these credentials. `seen` is the outcome that is of no use any
    /// more.
    pub(super) async fn next(&self, credentials: &str, seen: Option<&[u8]>, has_token: bool) -> Result<Next, NoTurn> {
        let key = format!("{}{credentials}", self.prefix);
        let name = random::hex().map_err(|error| NoTurn(error.to_string()))?.expose().to_owned();
        let seen = seen.map(|sealed| STANDARD.encode(sealed));
        let request = Request::Next { turn: &name, span: millis(SPAN), seen, has_token };
        let mut pause = FIRST_PAUSE;
        loop {
            match self.run(&key, &request).await? {
                Reply::Yours { failures } => return Ok(Next::Ours(Turn { turns: self.clone(), key, name, failures })),
                Reply::Paused { left, throttled, reason } => {
                    return Ok(Next::Paused(Pause { left: Duration::from_millis(left), throttled, reason }));
                }
                Reply::Kept { sealed, left } => {
                    // A text that is not base64 cannot be opened either.
                    let sealed = STANDARD.decode(sealed).unwrap_or_default();
                    let expires_at = clock::now() + Duration::from_millis(left);
                    return Ok(Next::Kept(KeptToken { sealed, expires_at }));
                }
                Reply::Busy | Reply::Over | Reply::Ok => sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn run(&self, key: &str, request: &Request<'_>) -> Result<Reply, NoTurn> {
        let text = serde_json::to_string(request).map_err(|error| NoTurn(error.to_string()))?;
        let reply = self.redis.run(&self.script, key, &[&text], TIMEOUT).await;
        let reply = reply.map_err(|error| NoTurn(error.to_string()))?;
        serde_json::from_str(&reply).map_err(|error| NoTurn(error.to_string()))
    }
}

impl Turn {
    /// Keeps the turn while the request is made.
    pub(super) async fn during<T>(&self, request: impl Future<Output = T>) -> T {
        let mut request = std::pin::pin!(request);
        let mut beat = interval(EXTENDED);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        loop {
            tokio::select! {
                biased;
                outcome = &mut request => return outcome,
                _ = beat.tick() => {}
            }
            let extension = async {
                // If it is lost, another gateway may make a request too.
                let _ = self.turns.run(&self.key, &Request::Extend { turn: &self.name, span: millis(SPAN) }).await;
            };
            tokio::select! {
                biased;
                outcome = &mut request => return outcome,
                () = extension => {}
            }
        }
    }

    /// Ends the turn. If that is lost, the turn ends by itself.
    pub(super) async fn end(self, ending: Option<Ending>) {
        if let Err(error) = self.turns.run(&self.key, &Request::End { turn: &self.name, ending }).await {
            tracing::warn!(key = self.key, reason = %error, "other gateways do not learn of this token request");
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
