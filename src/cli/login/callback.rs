//! Decides whether a request is the expected redirect, and reads it. Pure: the listener only calls it.

use std::io;

use http::{HeaderMap, Method, StatusCode, Uri, header::HOST};
use oauth2::url::form_urlencoded;

use super::{Page, State, request::REDIRECT_PATH};
use crate::{
    message::host,
    secret::Secret,
    zoho::{accounts_server, product::Product},
};

/// The contents of the redirect.
#[derive(Debug)]
pub struct Redirect {
    /// The authorisation code.
    pub code: Secret,
    /// The user's data centre: `us`, `eu`, ...
    pub location: Option<String>,
    /// The server that exchanges the code.
    pub accounts_server: Option<String>,
}

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum NoCode {
    /// The user or Zoho refused.
    #[error(
        "Zoho says {0}: no consent was given; try again, as a user who may use {products}",
        products = Product::list("and", |product| product.title().to_owned())
    )]
    Denied(String),
    /// The redirect has this login's state, but neither code nor error.
    #[error("the redirect holds no code; try again")]
    Missing,
    /// No redirect came in time.
    #[error("nobody came back from Zoho within ten minutes; try again")]
    TimedOut,
    /// The listener is broken.
    #[error("cannot accept the redirect: {0}")]
    Listener(#[from] io::Error),
}

/// The result of a request.
#[derive(Debug)]
pub(super) enum CallbackResult {
    /// It is another request; the login still waits.
    Stranger(Page),
    /// It is the redirect of this login.
    Ours(Result<Redirect, NoCode>),
}

pub(super) fn judge(method: &Method, uri: &Uri, headers: &HeaderMap, state: &State) -> CallbackResult {
    let stranger = |status, text| CallbackResult::Stranger(Page::refused(status, text));
    // A web site whose name resolves to this machine (DNS rebinding) has another host.
    if !is_local(headers) {
        return stranger(StatusCode::FORBIDDEN, "Only http://127.0.0.1 and http://localhost lead here.");
    }
    if uri.path() != REDIRECT_PATH {
        return stranger(StatusCode::NOT_FOUND, "There is nothing here but the end of a login.");
    }
    if *method != Method::GET {
        return stranger(StatusCode::METHOD_NOT_ALLOWED, "A redirect is a plain GET.");
    }
    let query = uri.query().unwrap_or_default().as_bytes();
    let Ok(given) = Given::read(query) else {
        return stranger(StatusCode::BAD_REQUEST, "The address says one thing twice.");
    };
    if !given.state.is_some_and(|shown| state.is(&shown)) {
        let text = "This is the end of another login than the one that is under way. \
                    Open the address that the terminal shows now.";
        return stranger(StatusCode::BAD_REQUEST, text);
    }
    if let Some(error) = given.error {
        return CallbackResult::Ours(Err(NoCode::Denied(accounts_server::identifier(&error))));
    }
    match given.code {
        Some(code) if !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_graphic()) => {
            CallbackResult::Ours(Ok(Redirect {
                code: Secret::new(code),
                location: given.location,
                accounts_server: given.accounts_server,
            }))
        }
        _ => CallbackResult::Ours(Err(NoCode::Missing)),
    }
}

/// The parameters that have a meaning.
#[derive(Default)]
struct Given {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    location: Option<String>,
    accounts_server: Option<String>,
}

struct Twice;

impl Given {
    fn read(query: &[u8]) -> Result<Self, Twice> {
        let mut given = Self::default();
        for (name, value) in form_urlencoded::parse(query) {
            let place = match &*name {
                "code" => &mut given.code,
                "state" => &mut given.state,
                "error" => &mut given.error,
                "location" => &mut given.location,
                "accounts-server" => &mut given.accounts_server,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(Twice);
            }
        }
        Ok(given)
    }
}

fn is_local(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else { return false };
    // The two hosts that a redirect URI of ours may have.
    matches!(host::name(host).as_str(), "127.0.0.1" | "localhost")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn judged(
        method: &Method,
        target: &str,
        headers: &[(http::HeaderName, &'static str)],
        state: &State,
    ) -> CallbackResult {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        judge(method, &target.replace("STATE", state.expose()).parse().unwrap(), &headers, state)
    }

    fn at_home(target: &str) -> CallbackResult {
        judged(&Method::GET, target, &[(HOST, "127.0.0.1:9004")], &State::random().unwrap())
    }

    #[test]
    fn takes_the_redirect_of_this_login() {
        let target =
            "/callback?state=STATE&code=1000.a.b&location=eu&accounts-server=https%3A%2F%2Faccounts.zoho.eu&x=y";
        let CallbackResult::Ours(Ok(redirect)) = at_home(target) else { panic!() };
        assert_eq!(redirect.code.expose(), "1000.a.b");
        assert_eq!(redirect.location.as_deref(), Some("eu"));
        assert_eq!(redirect.accounts_server.as_deref(), Some("https://accounts.zoho.eu"));
    }

    #[test]
    fn refuses_strangers_and_goes_on_waiting() {
        for target in [
            "/",
            "/favicon.ico",
            "/callback",
            "/callback?code=1000.a.b",
            "/callback?code=1000.a.b&state=",
            "/callback?code=1000.a.b&state=0123",
            "/callback?error=access_denied",
            "/callback?code=1000.a.b&state=STATE&state=STATE",
            "/callback?code=1000.a.b&code=1000.c.d&state=STATE",
        ] {
            assert!(matches!(at_home(target), CallbackResult::Stranger(_)), "{target}");
        }
        let (state, good) = (State::random().unwrap(), "/callback?code=1000.a.b&state=STATE");
        let home = (HOST, "localhost:9004");
        assert!(matches!(judged(&Method::GET, good, std::slice::from_ref(&home), &state), CallbackResult::Ours(Ok(_))));
        for headers in [
            vec![],
            vec![(HOST, "evil.example:9004")],
            vec![(HOST, "localhost.evil.example")],
            vec![home.clone(), home.clone()],
        ] {
            assert!(matches!(judged(&Method::GET, good, &headers, &state), CallbackResult::Stranger(_)), "{headers:?}");
        }
        assert!(matches!(judged(&Method::POST, good, &[home], &state), CallbackResult::Stranger(_)));
    }

    #[test]
    fn a_redirect_without_a_code_ends_the_login() {
        for (target, expected) in [
            ("/callback?state=STATE&error=access_denied", "access_denied"),
            ("/callback?state=STATE&error=%3Cscript%3E&code=1000.a.b", "not an error code"),
            ("/callback?state=STATE", "no code"),
            ("/callback?state=STATE&code=", "no code"),
            ("/callback?state=STATE&code=a%0Ab", "no code"),
        ] {
            let CallbackResult::Ours(Err(error)) = at_home(target) else { panic!("{target}") };
            let told = error.to_string();
            assert!(told.contains(expected) && !told.contains("script"), "{target}: {told}");
        }
    }
}
