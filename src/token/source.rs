//! The access token of one account: fetched once for everybody who waits, renewed a little early.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::grant::{BLOCKED, Granted, Grants};
use crate::{
    account::Account,
    call::Token,
    catalogue::{Pace, Threshold},
    clock,
    ledger::{Claim, Limits, Line, Refused},
    refusal::{Cause, UpstreamFault},
    respond,
    telemetry::Metrics,
};

/// Zoho answers this many token requests per refresh token in [`TOKEN_WINDOW`] and then blocks (accounts: "access
/// token expiry").
const TOKEN_REQUESTS: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");
const TOKEN_WINDOW: Duration = Duration::from_secs(10 * 60);

/// After a failed early renewal the old token serves on and the next attempt waits this long.
const RENEWAL_PAUSE: Duration = Duration::from_secs(20);

/// After a request that was spent on no answer or a senseless one, the next waits: first this long, then each time twice
/// as long. Otherwise a moment's outage would cost all ten requests, and with them ten minutes.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(2 * 60);

/// A token this close to its end may die on the way to Zoho and is no longer handed out.
const LAST_MOMENTS: Duration = Duration::from_secs(10);

/// When even a new token is called dead before it ever worked, the fault is elsewhere (a wrong data centre, say), and
/// replacing each would only spend the ten requests. Then one is replaced in this span.
const DOUBT_PAUSE: Duration = Duration::from_secs(60);

/// One account's token.
#[derive(Debug)]
pub struct Source {
    account: Arc<Account>,
    grants: Grants,
    /// The token endpoint's own threshold, behind the same ledger as every call.
    line: Arc<Line>,
    state: Mutex<State>,
    /// The newest generation that Zoho took.
    proven: AtomicU64,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Current>,
    generation: u64,
    flight: Option<watch::Receiver<Option<Outcome>>>,
    /// Until then no token is replaced that never worked.
    doubt_until: Option<Instant>,
    /// Failed requests in a row, and until when none is made after the last of them.
    failures: u32,
    pause: Option<(Instant, Cause)>,
    /// Zoho refused the credentials, with this reason: it is not asked again until they change.
    unauthorised: Option<String>,
}

type Outcome = Result<Token, Cause>;

#[derive(Debug)]
struct Current {
    token: Token,
    renew_at: Instant,
    expires_at: Instant,
}

/// How an account stands, for readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing speaks against it.
    Good,
    /// Zoho refused its credentials, with this reason.
    Unauthorised(String),
}

impl Source {
    /// No token yet; the first caller has it fetched.
    #[must_use]
    pub fn new(account: Arc<Account>, grants: Grants, metrics: Arc<Metrics>) -> Arc<Self> {
        let threshold = Threshold { requests: TOKEN_REQUESTS, window: TOKEN_WINDOW, lock: BLOCKED, pace: Pace::Burst };
        let line = Line::in_memory(threshold, Limits::NOBODY);
        Arc::new(Self { account, grants, line, state: Mutex::default(), proven: AtomicU64::new(0), metrics })
    }

    /// A token that lives, waiting for one if need be. Leaving early does not disturb the flight.
    ///
    /// # Errors
    /// The cause that the caller is refused with.
    pub async fn token(self: &Arc<Self>) -> Outcome {
        let mut flight = match self.look() {
            Look::Token(token) => return Ok(token),
            Look::Refused(cause) => return Err(cause),
            Look::Flight(flight) => flight,
        };
        match flight.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(interrupted(&self.account))),
            Err(_) => Err(interrupted(&self.account)),
        }
    }

    /// Zoho took the token of this generation.
    pub fn alive(&self, generation: u64) {
        self.proven.fetch_max(generation, Ordering::Relaxed);
    }

    /// Zoho said that the token of this generation is dead. Said again of the same token, it changes nothing.
    /// Whether there is another token to try.
    pub fn dead(&self, generation: u64) -> bool {
        let now = clock::now();
        let mut state = self.state.lock();
        if state.current.as_ref().is_none_or(|current| current.token.generation != generation) {
            return true;
        }
        if self.proven.load(Ordering::Relaxed) < generation {
            if state.doubt_until.is_some_and(|until| now < until) {
                tracing::warn!(account = %self.account.name, generation, "Zoho takes no token of this account; is data_center right?");
                return false;
            }
            state.doubt_until = Some(now + DOUBT_PAUSE);
        }
        state.current = None;
        tracing::info!(account = %self.account.name, generation, "Zoho says the access token is dead");
        true
    }

    /// How the account stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.state.lock().unauthorised.clone().map_or(Standing::Good, Standing::Unauthorised)
    }

    fn look(self: &Arc<Self>) -> Look {
        let now = clock::now();
        let mut state = self.state.lock();
        if let Some(reason) = &state.unauthorised {
            return Look::Refused(Cause::AccountUnauthorised { reason: reason.clone() });
        }
        if let Some((until, cause)) = &state.pause
            && now < *until
            && state.current.is_none()
        {
            return Look::Refused(cause.clone());
        }
        let serving = state.current.as_ref().filter(|current| now < current.expires_at);
        match serving.map(|current| (current.token.clone(), now >= current.renew_at)) {
            Some((token, false)) => Look::Token(token),
            Some((token, true)) => {
                self.flight(&mut state);
                Look::Token(token)
            }
            None => Look::Flight(self.flight(&mut state)),
        }
    }

    /// The flight under way, or a new one. It is a task of its own, so that no caller's leaving ends it; it ends by
    /// itself within the upstream's timeout.
    fn flight(self: &Arc<Self>, state: &mut State) -> watch::Receiver<Option<Outcome>> {
        if let Some(flight) = &state.flight {
            return flight.clone();
        }
        let (arrive, flight) = watch::channel(None);
        state.flight = Some(flight.clone());
        let source = Arc::clone(self);
        tokio::spawn(async move {
            // Were the task to end early, the flight must not stay in the way of the next one.
            let landing = Landing { source: &source };
            let outcome = source.fetch().await;
            drop(landing);
            arrive.send_replace(Some(outcome));
        });
        flight
    }

    async fn fetch(&self) -> Outcome {
        let granted = match self.line.permit(Claim::plain(clock::now())).await {
            Ok(permit) => self.grants.refresh(&self.account, permit).await,
            Err(
                Refused::Saturated { retry_after, .. }
                | Refused::Locked { retry_after }
                | Refused::Full { retry_after, .. },
            ) => Err(Cause::TokenThrottled { retry_after }),
            Err(Refused::Unrecorded) => Err(Cause::StateUnavailable),
        };
        self.metrics.token_request(&self.account.name, granted.as_ref().err());
        let mut state = self.state.lock();
        match granted.and_then(|granted| self.adopt(&mut state, granted)) {
            Ok(token) => {
                (state.failures, state.pause) = (0, None);
                tracing::info!(account = %self.account.name, generation = token.generation, "fetched an access token");
                Ok(token)
            }
            Err(cause) => {
                if let Cause::AccountUnauthorised { reason } = &cause {
                    state.unauthorised = Some(reason.clone());
                    state.current = None;
                }
                if let Cause::UpstreamInvalidResponse(_) | Cause::UpstreamTimeout(_) = cause {
                    let pause = FIRST_PAUSE.saturating_mul(1 << state.failures.min(10)).min(LONGEST_PAUSE);
                    state.failures += 1;
                    state.pause = Some((clock::now() + pause, cause.clone()));
                }
                if let Some(current) = &mut state.current {
                    current.renew_at = clock::now() + RENEWAL_PAUSE;
                }
                let words = respond::for_operators(&cause);
                tracing::warn!(account = %self.account.name, cause = words, "could not fetch an access token");
                Err(cause)
            }
        }
    }

    fn adopt(&self, state: &mut State, granted: Granted) -> Outcome {
        let text = format!("Zoho-oauthtoken {}", granted.access_token.expose());
        let mut header = HeaderValue::try_from(text).map_err(|_| {
            Cause::UpstreamInvalidResponse(UpstreamFault {
                error: "http_protocol_error",
                server: self.account.endpoints.accounts.authority().to_string(),
                log: "an access token that no header can carry".into(),
            })
        })?;
        header.set_sensitive(true);
        state.generation += 1;
        let token = Token { header, generation: state.generation };
        let last_moments = LAST_MOMENTS.min(granted.lifetime / 20);
        state.current = Some(Current {
            token: token.clone(),
            renew_at: granted.expires_at - granted.lifetime / 10,
            expires_at: granted.expires_at - last_moments,
        });
        Ok(token)
    }
}

#[cfg(test)]
impl Source {
    pub(super) fn pretend_that_renewal_is_due(&self) {
        if let Some(current) = &mut self.state.lock().current {
            current.renew_at = clock::now();
        }
    }
}

enum Look {
    Token(Token),
    Refused(Cause),
    Flight(watch::Receiver<Option<Outcome>>),
}

/// Clears the flight when it ends, however it ends.
struct Landing<'a> {
    source: &'a Source,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.source.state.lock().flight = None;
    }
}

fn interrupted(account: &Account) -> Cause {
    Cause::UpstreamUnreachable(UpstreamFault {
        error: "proxy_internal_error",
        server: account.endpoints.accounts.authority().to_string(),
        log: "the token request was broken off".into(),
    })
}
