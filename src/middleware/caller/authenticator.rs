//! Who is calling, by what the request and its connection show.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderMap, header};

use super::{
    Callers, Issuers, Registered,
    fetch::Fetch,
    issuer::KeyChoice,
    limit::Limiter,
    token::{self, Token},
};
use crate::{
    call::peer::Peer,
    call::permissions::Permissions,
    ledger::Caller,
    os::clock,
    problem::{BadToken, Cause, Unauthenticated},
};

/// Identifies the caller of each request and enforces its limit.
#[derive(Debug)]
pub struct Authenticator {
    callers: Callers,
    issuers: Issuers,
    /// By caller, of those that have one.
    limiters: HashMap<Caller, Limiter>,
}

/// What a look at a request found.
#[derive(Debug)]
pub(super) enum Found {
    /// The caller, and what it may do where that is restricted.
    Caller(Caller, Option<Arc<Permissions>>),
    /// Look again when this fetch of an issuer's keys has ended.
    Later(Fetch),
}

/// What stands in `Authorization`, as far as it is for the gateway. Without `Debug`, so that no log shows it by accident.
#[cfg_attr(test, derive(Debug))]
#[derive(PartialEq, Eq)]
enum Shown<'a> {
    /// Nothing; other schemes are not for us.
    Nothing,
    /// A token in one of Zoho's own schemes, which is not for us either.
    ZohoToken,
    /// The key or token of `Bearer ...`.
    Bearer(&'a [u8]),
    /// A malformed `Bearer`, or one next to another credential.
    Malformed,
}

impl Authenticator {
    pub(super) fn new(callers: Callers, issuers: Issuers) -> Self {
        let limited = callers.callers().filter_map(|caller| Some((caller.who.clone(), caller.limit?)));
        let limiters = limited.map(|(caller, limit)| (caller, Limiter::new(limit))).collect();
        Self { callers, issuers, limiters }
    }

    /// A caller that shows a key or a token must show a good one; a caller that shows neither is known by the certificate
    /// of its connection.
    pub(super) fn identify(&self, headers: &HeaderMap, peer: &Peer) -> Result<Found, Cause> {
        if self.callers.is_empty() {
            return Ok(Found::Caller(Caller::anonymous(), None));
        }
        match shown(headers) {
            Shown::Bearer(bearer) => {
                match token::looks_like_one(bearer).filter(|_| !self.issuers.is_empty() && !is_zohos(bearer)) {
                    Some(text) => self.by_token(text),
                    None => self.admit(&*self.callers.by_key(bearer).ok_or_else(|| unknown_key(bearer))?),
                }
            }
            Shown::Malformed => Err(Unauthenticated::Malformed.into()),
            Shown::Nothing => self.admit(self.by_certificate(peer)?),
            Shown::ZohoToken => self.admit(self.by_certificate(peer).map_err(|cause| match cause {
                Cause::CallerUnauthenticated(Unauthenticated::NothingShown) => Unauthenticated::ZohoToken.into(),
                other => other,
            })?),
        }
    }

    fn by_token(&self, text: &str) -> Result<Found, Cause> {
        let bad = |why| Cause::from(Unauthenticated::BadToken(why));
        let token = Token::read(text).map_err(bad)?;
        let issuer = token.issuer().and_then(|iss| self.issuers.of(iss)).ok_or_else(|| bad(BadToken::UnknownIssuer))?;
        match issuer.judge(&token, clock::wall()) {
            KeyChoice::Bad(reason) => Err(bad(reason)),
            KeyChoice::Later(fetch) => Ok(Found::Later(fetch)),
            KeyChoice::Unavailable { retry_after } => {
                Err(Cause::IssuerUnavailable { issuer: issuer.name().to_owned(), retry_after })
            }
            KeyChoice::Good => {
                let caller = token.subject().and_then(|subject| self.callers.by_subject(issuer.name(), subject));
                self.admit(caller.ok_or_else(|| bad(BadToken::UnknownSubject))?)
            }
        }
    }

    fn by_certificate(&self, peer: &Peer) -> Result<&Registered, Cause> {
        if peer.names.is_empty() {
            return Err(Unauthenticated::NothingShown.into());
        }
        let known = self.callers.by_certificate(peer).map_err(|_| Unauthenticated::SeveralCallers)?;
        known.map(|caller| &**caller).ok_or(Unauthenticated::UnknownCertificate.into())
    }

    fn admit(&self, known: &Registered) -> Result<Found, Cause> {
        if let Some(limiter) = self.limiters.get(&known.who) {
            limiter.check(clock::now()).map_err(|retry_after| Cause::CallerLimit { retry_after })?;
        }
        Ok(Found::Caller(known.who.clone(), Some(Arc::clone(&known.permissions))))
    }
}

/// `Authorization: Bearer KEY` (RFC 6750 section 2.1), given once; the scheme's case does not matter (RFC 9110
/// section 11.1).
fn shown(headers: &HeaderMap) -> Shown<'_> {
    let mut found = Shown::Nothing;
    let mut fields = 0;
    for field in headers.get_all(header::AUTHORIZATION) {
        fields += 1;
        let field = field.as_bytes();
        let (scheme, rest) = field.split_at(field.iter().position(|byte| *byte == b' ').unwrap_or(field.len()));
        if scheme.eq_ignore_ascii_case(b"bearer") {
            let bearer = rest.trim_ascii();
            found = if bearer.is_empty() { Shown::Malformed } else { Shown::Bearer(bearer) };
        } else if found == Shown::Nothing
            && (is_zohos_scheme(scheme) || is_zohos(scheme) || is_zohos(rest.trim_ascii()))
        {
            found = Shown::ZohoToken;
        }
    }
    match found {
        Shown::Bearer(_) if fields > 1 => Shown::Malformed,
        found => found,
    }
}

/// `Zoho-oauthtoken`, and `Zoho-authtoken` of before OAuth.
fn is_zohos_scheme(scheme: &[u8]) -> bool {
    scheme.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"zoho-"))
}

/// Whether a token has the form of Zoho's: `1000.` and two numbers.
fn is_zohos(token: &[u8]) -> bool {
    token.starts_with(b"1000.")
}

fn unknown_key(bearer: &[u8]) -> Unauthenticated {
    if is_zohos(bearer) { Unauthenticated::ZohoToken } else { Unauthenticated::UnknownKey }
}

/// Whether a query has a token of Zoho's: as calls of before OAuth do, or as RFC 6750 section 2.3 has it.
pub(super) fn has_zoho_token(query: &str) -> bool {
    query.split('&').filter_map(|pair| pair.split_once('=')).any(|(name, value)| {
        name.eq_ignore_ascii_case("authtoken")
            || (name.to_ascii_lowercase().ends_with("token") && is_zohos(value.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        call::peer::{Exposure, SubjectName},
        middleware::caller::KeyHash,
    };

    #[test]
    fn reads_a_bearer() {
        let bearer = |text: &'static str| Shown::Bearer(text.as_bytes());
        for (values, expected) in [
            (&["Bearer abc"][..], bearer("abc")),
            (&["bearer   abc"], bearer("abc")),
            (&["Bearer"], Shown::Malformed),
            (&["Bearer "], Shown::Malformed),
            (&["Bearer abc", "Bearer abc"], Shown::Malformed),
            (&["Bearer abc", "Basic abc"], Shown::Malformed),
            (&["Basic abc"], Shown::Nothing),
            (&["Bearerabc"], Shown::Nothing),
            (&["Zoho-oauthtoken abc"], Shown::ZohoToken),
            (&["zoho-authtoken abc"], Shown::ZohoToken),
            (&["Zoho-oauthtoken"], Shown::ZohoToken),
            (&["1000.abc.def"], Shown::ZohoToken),
            (&["Token 1000.abc.def"], Shown::ZohoToken),
            (&["Token 100.abc.def"], Shown::Nothing),
            (&["Zoho"], Shown::Nothing),
            (&["Zoho-oauthtoken abc", "Bearer abc"], Shown::Malformed),
            (&["Basic abc", "Zoho-oauthtoken abc"], Shown::ZohoToken),
            (&[], Shown::Nothing),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(shown(&headers), expected, "{values:?}");
        }
    }

    fn caller(name: &str) -> Arc<Registered> {
        let who = Caller::new(name, NonZeroU32::MIN);
        Arc::new(Registered { who, permissions: Arc::default(), limit: None })
    }

    /// `payroll` has a key and two names, `reports` a name.
    fn authenticator() -> Authenticator {
        let mut callers = Callers::default();
        let (payroll, reports) = (caller("payroll"), caller("reports"));
        callers.add(&payroll);
        callers.add(&reports);
        assert!(callers.add_key(KeyHash::of(b"key"), &payroll));
        for (name, caller) in [
            ("spiffe://example.org/payroll", &payroll),
            ("payroll.example.org", &payroll),
            ("reports.example.org", &reports),
        ] {
            assert!(callers.add_name(name.parse().unwrap(), caller));
        }
        assert!(!callers.add_name("Payroll.example.org".parse().unwrap(), &reports), "it is somebody's already");
        Authenticator::new(callers, Issuers::default())
    }

    /// The caller's name, or the words of the refusal.
    fn identified(authenticator: &Authenticator, authorization: Option<&str>, names: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        let names: Vec<SubjectName> = names.iter().map(|name| name.parse().unwrap()).collect();
        let peer = Peer { exposure: Exposure::Network, names: names.into() };
        match authenticator.identify(&headers, &peer) {
            Ok(Found::Caller(caller, Some(_))) => caller.name().to_owned(),
            Ok(other) => panic!("{other:?}"),
            Err(cause) => format!("{cause:?}"),
        }
    }

    #[test]
    fn a_certificate_tells_who_calls() {
        let authenticator = authenticator();
        for (names, expected) in [
            (&["spiffe://example.org/payroll"][..], "payroll"),
            (&["REPORTS.example.org"], "reports"),
            // One caller's names, and some that are nobody's.
            (&["x.example.org", "payroll.example.org", "spiffe://example.org/payroll"], "payroll"),
            (&["payroll.example.org", "reports.example.org"], "CallerUnauthenticated(SeveralCallers)"),
            (&["x.example.org", "spiffe://example.org/Payroll"], "CallerUnauthenticated(UnknownCertificate)"),
            (&["spiffe://example.org/payroll/x"], "CallerUnauthenticated(UnknownCertificate)"),
            (&[], "CallerUnauthenticated(NothingShown)"),
        ] {
            assert_eq!(identified(&authenticator, None, names), expected, "{names:?}");
        }
    }

    #[test]
    fn a_key_goes_before_a_certificate() {
        let (authenticator, reports) = (authenticator(), &["reports.example.org"][..]);
        for (authorization, expected) in [
            ("Bearer key", "payroll"),
            ("Bearer other", "CallerUnauthenticated(UnknownKey)"),
            ("Bearer", "CallerUnauthenticated(Malformed)"),
            // A token of Zoho's, say, of a service that has not been told to drop it.
            ("Zoho-oauthtoken 1000.abc", "reports"),
            // Without issuers even this is a key.
            ("Bearer a.b.c", "CallerUnauthenticated(UnknownKey)"),
        ] {
            assert_eq!(identified(&authenticator, Some(authorization), reports), expected, "{authorization}");
        }
        assert_eq!(identified(&authenticator, Some("Basic abc"), &[]), "CallerUnauthenticated(NothingShown)");
        for zohos in ["Zoho-oauthtoken 1000.a.b", "ZOHO-AUTHTOKEN a", "Bearer 1000.a.b", "bearer 1000.abc"] {
            assert_eq!(identified(&authenticator, Some(zohos), &[]), "CallerUnauthenticated(ZohoToken)", "{zohos}");
        }
        let stranger = identified(&authenticator, Some("Zoho-oauthtoken 1000.a.b"), &["x.example.org"]);
        assert_eq!(stranger, "CallerUnauthenticated(UnknownCertificate)");
    }

    #[test]
    fn without_callers_all_are_one_anonymous_caller() {
        let authenticator = Authenticator::new(Callers::default(), Issuers::default());
        let peer = Peer { exposure: Exposure::Network, names: Arc::default() };
        let Ok(Found::Caller(caller, None)) = authenticator.identify(&HeaderMap::new(), &peer) else {
            panic!("a caller")
        };
        assert_eq!(caller, Caller::anonymous());
    }
}
