//! Refresh and access tokens: their logins, their validity, and the number of token calls.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

use super::{
    REFRESH_TOKEN,
    login::Login,
    meter::{Admission, Meter, Rule},
    random::Random,
};

/// The window of token calls, and how long a refresh token is blocked after one call too many. Metered like an API, so
/// a call during the block counts in the ten minutes after it: callers that stop recover, as developers report.
const TEN_MINUTES: Duration = Duration::from_secs(600);

/// The number of live access tokens per refresh token; one more ends the oldest.
const MOST_LIVE: usize = 15;

/// All tokens of all logins.
pub(super) struct Tokens {
    /// The limit of token calls.
    rule: Rule,
    logins: BTreeMap<Login, Grants>,
    /// Every access token ever issued, because a dead one still identifies its login.
    access: HashMap<String, Access>,
    /// Refresh tokens in use so far; commands of the control plane apply to these.
    seen: HashSet<String>,
    revoked: HashSet<String>,
    /// The scopes of refresh tokens that were granted for a code.
    scopes: HashMap<String, String>,
}

/// The totals of one login in the statistics.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct TokenTally {
    pub(super) calls: u64,
    pub(super) granted: u64,
    pub(super) most_in_ten_minutes: usize,
    pub(super) blocked: u64,
}

#[derive(Default)]
struct Grants {
    calls: Meter,
    granted: u64,
    /// Access tokens that are not revoked, oldest first.
    live: VecDeque<String>,
}

struct Access {
    login: Login,
    expires: Instant,
    ended: bool,
}

impl Tokens {
    /// Allows this many token calls per refresh token in ten minutes.
    pub(super) fn new(requests: u32) -> Self {
        Self {
            rule: Rule { requests, window: TEN_MINUTES, lock: TEN_MINUTES },
            logins: BTreeMap::new(),
            access: HashMap::new(),
            seen: HashSet::from([REFRESH_TOKEN.to_owned()]),
            revoked: HashSet::new(),
            scopes: HashMap::new(),
        }
    }

    /// Counts a token call that names `refresh_token`, whatever its result.
    pub(super) fn call(&mut self, login: &Login, refresh_token: &str, now: Instant) -> Admission {
        self.seen.insert(refresh_token.to_owned());
        self.logins.entry(login.clone()).or_default().calls.arrive(now, &self.rule)
    }

    /// Issues a refresh token for `scope`.
    pub(super) fn issue_refresh_token(&mut self, scope: String, random: &mut Random) -> String {
        let refresh_token = Login::new_refresh_token(random);
        self.seen.insert(refresh_token.clone());
        self.scopes.insert(refresh_token.clone(), scope);
        refresh_token
    }

    /// The scopes of a refresh token that was granted for a code.
    pub(super) fn scope(&self, refresh_token: &str) -> Option<&str> {
        self.scopes.get(refresh_token).map(String::as_str)
    }

    /// Issues an access token that lives for `life`.
    pub(super) fn grant(&mut self, login: &Login, now: Instant, life: Duration, random: &mut Random) -> String {
        let token = format!("1000.{}.{}", random.hex(), random.hex());
        let grants = self.logins.entry(login.clone()).or_default();
        grants.granted += 1;
        grants.live.push_back(token.clone());
        // Expired tokens no longer count as live.
        grants.live.retain(|token| self.access.get(token).is_none_or(|access| now < access.expires));
        if grants.live.len() > MOST_LIVE
            && let Some(oldest) = grants.live.pop_front()
            && let Some(access) = self.access.get_mut(&oldest)
        {
            access.ended = true;
        }
        self.access.insert(token.clone(), Access { login: login.clone(), expires: now + life, ended: false });
        token
    }

    /// The login that the token belongs or belonged to.
    pub(super) fn login_of(&self, token: &str) -> Option<Login> {
        self.access.get(token).map(|access| access.login.clone())
    }

    /// Whether the token is valid at `now`.
    pub(super) fn is_live(&self, token: &str, now: Instant) -> bool {
        self.access.get(token).is_some_and(|access| !access.ended && now < access.expires)
    }

    /// Whether the refresh token was revoked.
    pub(super) fn is_revoked(&self, refresh_token: &str) -> bool {
        self.revoked.contains(refresh_token)
    }

    /// Revokes a refresh token and its access tokens.
    pub(super) fn revoke(&mut self, login: &Login, refresh_token: &str) {
        self.revoked.insert(refresh_token.to_owned());
        self.end(|access| access.login == *login);
    }

    /// Revokes every refresh token used so far, and always `main`'s.
    pub(super) fn revoke_all(&mut self) {
        self.revoked.extend(self.seen.iter().cloned());
        self.end_all();
    }

    /// Ends every live access token; the refresh tokens stay valid.
    pub(super) fn end_all(&mut self) {
        self.end(|_| true);
    }

    /// Deletes the counts of token calls, and ends the blocks.
    pub(super) fn forget_calls(&mut self) {
        for grants in self.logins.values_mut() {
            grants.calls = Meter::default();
            grants.granted = 0;
        }
    }

    /// The totals by login.
    pub(super) fn tallies(&self) -> BTreeMap<String, TokenTally> {
        self.logins.iter().map(|(login, grants)| (login.to_string(), grants.tally())).collect()
    }

    fn end(&mut self, ends: impl Fn(&Access) -> bool) {
        self.access.values_mut().filter(|access| ends(access)).for_each(|access| access.ended = true);
        for grants in self.logins.values_mut() {
            grants.live.retain(|token| self.access.get(token).is_some_and(|access| !access.ended));
        }
    }
}

impl Grants {
    fn tally(&self) -> TokenTally {
        let calls = self.calls.tally();
        TokenTally {
            calls: calls.arrivals,
            granted: self.granted,
            most_in_ten_minutes: calls.most_in_any_window,
            blocked: calls.refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock;

    const HOUR: Duration = Duration::from_secs(3600);

    fn main_login() -> Login {
        Login::of(REFRESH_TOKEN).unwrap()
    }

    #[test]
    fn an_expired_token_still_identifies_its_login() {
        let (mut tokens, now) = (Tokens::new(10), clock::now());
        let token = tokens.grant(&main_login(), now, HOUR, &mut Random::seeded());
        assert!(tokens.is_live(&token, now + HOUR - Duration::from_millis(1)));
        assert!(!tokens.is_live(&token, now + HOUR));
        assert_eq!(tokens.login_of(&token), Some(main_login()));
    }

    #[test]
    fn the_sixteenth_live_token_ends_the_oldest() {
        let (mut tokens, mut random, now) = (Tokens::new(10), Random::seeded(), clock::now());
        let granted: Vec<_> = (0..16).map(|_| tokens.grant(&main_login(), now, HOUR, &mut random)).collect();
        let live: Vec<_> = granted.iter().map(|token| tokens.is_live(token, now)).collect();
        assert!(!live[0]);
        assert!(live[1..].iter().all(|live| *live));
    }

    #[test]
    fn an_expired_token_does_not_count_as_live() {
        let (mut tokens, mut random, now) = (Tokens::new(10), Random::seeded(), clock::now());
        for _ in 0..15 {
            tokens.grant(&main_login(), now, HOUR, &mut random);
        }
        let later: Vec<_> = (0..15).map(|_| tokens.grant(&main_login(), now + HOUR, HOUR, &mut random)).collect();
        assert!(later.iter().all(|token| tokens.is_live(token, now + HOUR)));
    }

    #[test]
    fn the_eleventh_call_in_ten_minutes_is_blocked_for_ten() {
        let (mut tokens, now) = (Tokens::new(10), clock::now());
        let mut call = |seconds| tokens.call(&main_login(), REFRESH_TOKEN, now + Duration::from_secs(seconds));
        assert!((0..10).all(|n| call(n) == Admission::Accepted));
        assert_eq!(call(599), Admission::OverThreshold);
        assert_eq!(call(1198), Admission::DuringLock);
        assert_eq!(call(1199), Admission::Accepted);
    }

    #[test]
    fn revoking_ends_only_the_access_tokens_of_that_login() {
        let (mut tokens, mut random, now) = (Tokens::new(10), Random::seeded(), clock::now());
        let other = Login::of("1000.sandbox.other").unwrap();
        let mine = tokens.grant(&main_login(), now, HOUR, &mut random);
        let theirs = tokens.grant(&other, now, HOUR, &mut random);
        tokens.revoke(&main_login(), REFRESH_TOKEN);
        assert!(tokens.is_revoked(REFRESH_TOKEN));
        assert!(!tokens.is_live(&mine, now));
        assert!(tokens.is_live(&theirs, now));
    }
}
