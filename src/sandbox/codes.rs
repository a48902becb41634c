//! Authorisation codes: valid once, for two minutes, and only for the redirect URI that they were sent to.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::random::Random;

/// "Two minutes" on CRM's pages of version 3, three on those of version 8; this is the stricter value.
const LIFE: Duration = Duration::from_secs(2 * 60);

/// What a code grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// Where the code was sent; `None` for the code of a self client, which is not sent anywhere.
    pub(super) redirect_uri: Option<String>,
    /// Separated by spaces.
    pub(super) scope: String,
    /// Whether a refresh token is granted too.
    pub(super) refreshable: bool,
}

/// Why a code is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Never issued, used, or too old.
    Code,
    /// It was sent to another URI. It is used up anyway.
    RedirectUri,
}

/// The codes that are not used yet.
#[derive(Default)]
pub(super) struct Codes(HashMap<String, (Grant, Instant)>);

impl Codes {
    pub(super) fn issue(&mut self, grant: Grant, now: Instant, random: &mut Random) -> String {
        self.0.retain(|_, (_, expires)| now < *expires);
        let code = format!("1000.{}.{}", random.hex(), random.hex());
        self.0.insert(code.clone(), (grant, now + LIFE));
        code
    }

    pub(super) fn redeem(&mut self, code: &str, redirect_uri: Option<&str>, now: Instant) -> Result<Grant, Refused> {
        let (grant, expires) = self.0.remove(code).ok_or(Refused::Code)?;
        if now >= expires {
            return Err(Refused::Code);
        }
        if grant.redirect_uri.as_deref() != redirect_uri {
            return Err(Refused::RedirectUri);
        }
        Ok(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock;

    const HERE: &str = "http://127.0.0.1:9004/callback";

    fn grant(redirect_uri: Option<&str>) -> Grant {
        let scope = "ZOHOPEOPLE.training.ALL".to_owned();
        Grant { redirect_uri: redirect_uri.map(str::to_owned), scope, refreshable: true }
    }

    #[test]
    fn a_code_is_valid_once_and_for_two_minutes() {
        let (mut codes, mut random, now) = (Codes::default(), Random::seeded(), clock::now());
        let mut issue = |codes: &mut Codes| codes.issue(grant(Some(HERE)), now, &mut random);
        let (first, second) = (issue(&mut codes), issue(&mut codes));
        let last_moment = now + LIFE - Duration::from_millis(1);
        assert_eq!(codes.redeem(&first, Some(HERE), last_moment), Ok(grant(Some(HERE))));
        assert_eq!(codes.redeem(&first, Some(HERE), last_moment), Err(Refused::Code));
        assert_eq!(codes.redeem(&second, Some(HERE), now + LIFE), Err(Refused::Code));
        assert_eq!(codes.redeem("1000.never.issued", Some(HERE), now), Err(Refused::Code));
    }

    #[test]
    fn a_code_is_valid_only_for_its_redirect_uri() {
        let (mut codes, mut random, now) = (Codes::default(), Random::seeded(), clock::now());
        for (sent, shown) in
            [(Some(HERE), Some("http://127.0.0.1:9005/callback")), (Some(HERE), None), (None, Some(HERE))]
        {
            let code = codes.issue(grant(sent), now, &mut random);
            assert_eq!(codes.redeem(&code, shown, now), Err(Refused::RedirectUri));
            assert_eq!(codes.redeem(&code, sent, now), Err(Refused::Code), "used up");
        }
        let code = codes.issue(grant(None), now, &mut random);
        assert_eq!(codes.redeem(&code, None, now), Ok(grant(None)));
    }
}
