//! Identifies the caller by the request and its connection.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderMap, header};

use super::{
    Callers, Issuers, Registered,
    fetch::Fetch,
    issuer::TokenCheck,
    limit::{CallerLimiters, Limiter},
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
    /// By caller; a caller without a limit has none.
    limiters: HashMap<Caller, Arc<Limiter>>,
}

/// The result of authenticating a request.
#[derive(Debug)]
pub(super) enum Authentication {
    /// The caller, and its permissions; `None` for the anonymous caller.
    Caller(Caller, Option<Arc<Permissions>>),
    /// Unknown until this fetch of an issuer's keys has ended.
    Pending(Fetch),
}

/// The credentials in `Authorization`, as far as they are for the gateway. No `Debug`, so that no log shows them by accident.
#[cfg_attr(test, derive(Debug))]
#[derive(PartialEq, Eq)]
enum Presented<'a> {
    /// None, or a scheme that the gateway does not use.
    Nothing,
    /// One of Zoho's tokens, which does not identify a caller.
    ZohoToken,
    /// The key or token of `Bearer ...`.
    Bearer(&'a [u8]),
    /// A malformed `Bearer`, or a `Bearer` next to another field.
    Malformed,
}

impl Authenticator {
    pub(super) fn new(callers: Callers, issuers: Issuers, limiters: &CallerLimiters) -> Self {
        let limited = callers.callers().filter_map(|caller| Some((caller.who.clone(), caller.limit?)));
        let limiters = limited
            .map(|(caller, limit)| {
                let limiter = limiters.of(&caller, limit);
                (caller, limiter)
            })
            .collect();
        Self { callers, issuers, limiters }
    }

    /// Identifies the caller by its key or token. A request without either is identified by the certificate of its
    /// connection; a request with an invalid one is rejected.
    pub(super) fn identify(&self, headers: &HeaderMap, peer: &Peer) -> Result<Authentication, Cause> {
        if self.callers.is_empty() {
            return Ok(Authentication::Caller(Caller::anonymous(), None));
        }
        match presented(headers) {
            Presented::Bearer(bearer) => {
                match token::as_jwt(bearer).filter(|_| !self.issuers.is_empty() && !is_zoho_token(bearer)) {
                    Some(text) => self.by_token(text),
                    None => self.admit(&*self.callers.by_key(bearer).ok_or_else(|| unknown_key(bearer))?),
                }
            }
            Presented::Malformed => Err(Unauthenticated::Malformed.into()),
            Presented::Nothing => self.admit(self.by_certificate(peer)?),
            Presented::ZohoToken => self.admit(self.by_certificate(peer).map_err(|cause| match cause {
                Cause::CallerUnauthenticated(Unauthenticated::NothingShown) => Unauthenticated::ZohoToken.into(),
                other => other,
            })?),
        }
    }

    fn by_token(&self, text: &str) -> Result<Authentication, Cause> {
        let bad = |why| Cause::from(Unauthenticated::BadToken(why));
        let token = Token::read(text).map_err(bad)?;
        let issuer = token.issuer().and_then(|iss| self.issuers.of(iss)).ok_or_else(|| bad(BadToken::UnknownIssuer))?;
        match issuer.check(&token, clock::wall()) {
            TokenCheck::Bad(reason) => Err(bad(reason)),
            TokenCheck::Pending(fetch) => Ok(Authentication::Pending(fetch)),
            TokenCheck::Unavailable { retry_after } => {
                Err(Cause::IssuerUnavailable { issuer: issuer.name().to_owned(), retry_after })
            }
            TokenCheck::Good => {
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

    fn admit(&self, known: &Registered) -> Result<Authentication, Cause> {
        if let Some(limiter) = self.limiters.get(&known.who) {
            let refused = |retry_after| Cause::CallerLimit { caller: known.who.clone(), retry_after };
            limiter.check(clock::now()).map_err(refused)?;
        }
        Ok(Authentication::Caller(known.who.clone(), Some(Arc::clone(&known.permissions))))
    }
}

/// `Authorization: Bearer KEY` (RFC 6750 section 2.1), given once; the scheme's case does not matter (RFC 9110
/// section 11.1).
fn presented(headers: &HeaderMap) -> Presented<'_> {
    let mut found = Presented::Nothing;
    let mut fields = 0;
    for field in headers.get_all(header::AUTHORIZATION) {
        fields += 1;
        let field = field.as_bytes();
        let (scheme, rest) = field.split_at(field.iter().position(|byte| *byte == b' ').unwrap_or(field.len()));
        if scheme.eq_ignore_ascii_case(b"bearer") {
            let bearer = rest.trim_ascii();
            found = if bearer.is_empty() { Presented::Malformed } else { Presented::Bearer(bearer) };
        } else if found == Presented::Nothing
            && (is_zoho_scheme(scheme) || is_zoho_token(scheme) || is_zoho_token(rest.trim_ascii()))
        {
            found = Presented::ZohoToken;
        }
    }
    match found {
        Presented::Bearer(_) if fields > 1 => Presented::Malformed,
        found => found,
    }
}

/// `Zoho-oauthtoken`, and `Zoho-authtoken` from the time before OAuth.
fn is_zoho_scheme(scheme: &[u8]) -> bool {
    scheme.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"zoho-"))
}

/// Whether a token looks like one of Zoho's: `1000.` and two numbers.
fn is_zoho_token(token: &[u8]) -> bool {
    token.starts_with(b"1000.")
}

fn unknown_key(bearer: &[u8]) -> Unauthenticated {
    if is_zoho_token(bearer) { Unauthenticated::ZohoToken } else { Unauthenticated::UnknownKey }
}

/// Whether a query holds one of Zoho's tokens: `authtoken` from the time before OAuth, or a parameter as in RFC 6750
/// section 2.3.
pub(super) fn has_zoho_token(query: &str) -> bool {
    query.split('&').filter_map(|pair| pair.split_once('=')).any(|(name, value)| {
        name.eq_ignore_ascii_case("authtoken")
            || (name.to_ascii_lowercase().ends_with("token") && is_zoho_token(value.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        call::peer::{ClientAddress, Exposure, SubjectName},
        middleware::caller::KeyHash,
    };

    #[test]
    fn reads_a_bearer() {
        let bearer = |text: &'static str| Presented::Bearer(text.as_bytes());
        for (values, expected) in [
            (&["Bearer abc"][..], bearer("abc")),
            (&["bearer   abc"], bearer("abc")),
            (&["Bearer"], Presented::Malformed),
            (&["Bearer "], Presented::Malformed),
            (&["Bearer abc", "Bearer abc"], Presented::Malformed),
            (&["Bearer abc", "Basic abc"], Presented::Malformed),
            (&["Basic abc"], Presented::Nothing),
            (&["Bearerabc"], Presented::Nothing),
            (&["Zoho-oauthtoken abc"], Presented::ZohoToken),
            (&["zoho-authtoken abc"], Presented::ZohoToken),
            (&["Zoho-oauthtoken"], Presented::ZohoToken),
            (&["1000.abc.def"], Presented::ZohoToken),
            (&["Token 1000.abc.def"], Presented::ZohoToken),
            (&["Token 100.abc.def"], Presented::Nothing),
            (&["Zoho"], Presented::Nothing),
            (&["Zoho-oauthtoken abc", "Bearer abc"], Presented::Malformed),
            (&["Basic abc", "Zoho-oauthtoken abc"], Presented::ZohoToken),
            (&[], Presented::Nothing),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(presented(&headers), expected, "{values:?}");
        }
    }

    fn caller(name: &str) -> Arc<Registered> {
        let who = Caller::new(name, NonZeroU32::MIN);
        Arc::new(Registered { who, permissions: Arc::default(), limit: None })
    }

    /// `payroll` has a key and two certificate names, `reports` one name.
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
        assert!(!callers.add_name("Payroll.example.org".parse().unwrap(), &reports), "another caller has the name");
        Authenticator::new(callers, Issuers::default(), &CallerLimiters::default())
    }

    /// The caller's name, or the cause of the rejection.
    fn identified(authenticator: &Authenticator, authorization: Option<&str>, names: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        let names: Vec<SubjectName> = names.iter().map(|name| name.parse().unwrap()).collect();
        let peer =
            Peer { exposure: Exposure::Network, address: ClientAddress::Unix, is_tls: false, names: names.into() };
        match authenticator.identify(&headers, &peer) {
            Ok(Authentication::Caller(caller, Some(_))) => caller.name().to_owned(),
            Ok(other) => panic!("{other:?}"),
            Err(cause) => format!("{cause:?}"),
        }
    }

    #[test]
    fn a_certificate_identifies_the_caller() {
        let authenticator = authenticator();
        for (names, expected) in [
            (&["spiffe://example.org/payroll"][..], "payroll"),
            (&["REPORTS.example.org"], "reports"),
            // Names of one caller, and names that no caller has.
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
    fn a_key_takes_precedence_over_a_certificate() {
        let (authenticator, reports) = (authenticator(), &["reports.example.org"][..]);
        for (authorization, expected) in [
            ("Bearer key", "payroll"),
            ("Bearer other", "CallerUnauthenticated(UnknownKey)"),
            ("Bearer", "CallerUnauthenticated(Malformed)"),
            // For example from a service that used to call Zoho directly.
            ("Zoho-oauthtoken 1000.abc", "reports"),
            // Without issuers even this counts as a key.
            ("Bearer a.b.c", "CallerUnauthenticated(UnknownKey)"),
        ] {
            assert_eq!(identified(&authenticator, Some(authorization), reports), expected, "{authorization}");
        }
        assert_eq!(identified(&authenticator, Some("Basic abc"), &[]), "CallerUnauthenticated(NothingShown)");
        for zoho in ["Zoho-oauthtoken 1000.a.b", "ZOHO-AUTHTOKEN a", "Bearer 1000.a.b", "bearer 1000.abc"] {
            assert_eq!(identified(&authenticator, Some(zoho), &[]), "CallerUnauthenticated(ZohoToken)", "{zoho}");
        }
        let unknown = identified(&authenticator, Some("Zoho-oauthtoken 1000.a.b"), &["x.example.org"]);
        assert_eq!(unknown, "CallerUnauthenticated(UnknownCertificate)");
    }

    #[test]
    fn without_callers_every_request_is_anonymous() {
        let authenticator = Authenticator::new(Callers::default(), Issuers::default(), &CallerLimiters::default());
        let peer =
            Peer { exposure: Exposure::Network, address: ClientAddress::Unix, is_tls: false, names: Arc::default() };
        let Ok(Authentication::Caller(caller, None)) = authenticator.identify(&HeaderMap::new(), &peer) else {
            panic!("a caller")
        };
        assert_eq!(caller, Caller::anonymous());
    }
}
