//! The consent page: a correct request is redirected with a code at once, as if the user had consented.

use http::{Method, header::HOST};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::{CLIENT_ID, answer::Answer, codes::Grant, request::Arrival, world::Sandbox};
use crate::os::clock;

/// The location of the simulated user.
const LOCATION: &str = "us";

/// `GET /oauth/v2/auth`. Zoho's own page answers a wrong request with HTML; the words here are ours.
pub(super) fn ask(sandbox: &Sandbox, arrival: &Arrival) -> Answer {
    if arrival.method != Method::GET {
        return Answer::method_not_allowed();
    }
    match redirect(sandbox, arrival) {
        Ok(location) => Answer::found(location),
        Err(fault) => Answer::bad_request(json!({"error": fault})),
    }
}

fn redirect(sandbox: &Sandbox, arrival: &Arrival) -> Result<String, &'static str> {
    let given = |name: &str| arrival.parameter(name).unwrap_or_default();
    if given("client_id") != CLIENT_ID {
        return Err("invalid_client");
    }
    if given("response_type") != "code" {
        return Err("invalid_response_type");
    }
    let scope = scopes(&given("scope")).ok_or("invalid_scope")?;
    let redirect_uri = given("redirect_uri");
    if !["http://", "https://"].iter().any(|scheme| redirect_uri.starts_with(scheme)) || redirect_uri.contains('#') {
        return Err("invalid_redirect_uri");
    }
    let offline = match given("access_type").as_str() {
        "" | "online" => false,
        "offline" => true,
        _ => return Err("invalid_access_type"),
    };
    let consent = match given("prompt").as_str() {
        "" => false,
        "consent" => true,
        _ => return Err("invalid_prompt"),
    };
    // Without a prompt Zoho grants a refresh token only the first time; the stricter assumption is a later time.
    let grant = Grant { redirect_uri: Some(redirect_uri.clone()), scope, refreshable: offline && consent };
    let code = {
        let mut world = sandbox.world();
        let world = &mut *world;
        world.codes.issue(grant, clock::now(), &mut world.random)
    };
    let own = arrival.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let accounts_server = format!("http://{own}");
    let mut pairs = vec![("code", code.as_str()), ("location", LOCATION), ("accounts-server", &accounts_server)];
    let state = arrival.parameter("state");
    pairs.extend(state.as_deref().map(|state| ("state", state)));
    let query: Vec<_> =
        pairs.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))).collect();
    let mark = if redirect_uri.contains('?') { '&' } else { '?' };
    Ok(format!("{redirect_uri}{mark}{}", query.join("&")))
}

/// A list of scopes in the form of token answers. Zoho's pages separate them by commas, RFC 6749 by spaces.
pub(super) fn scopes(list: &str) -> Option<String> {
    let scopes: Vec<_> = list.split([',', ' ']).filter(|scope| !scope.is_empty()).collect();
    let sound = scopes.iter().all(|scope| scope.split('.').count() == 3);
    (sound && !scopes.is_empty()).then(|| scopes.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_separated_by_commas_or_spaces() {
        let both = "ZOHOPEOPLE.training.ALL ZohoCalendar.calendar.READ";
        assert_eq!(scopes(&both.replace(' ', ",")).as_deref(), Some(both));
        assert_eq!(scopes(&both.replace(' ', ", ")).as_deref(), Some(both));
        for wrong in ["", ",", "training", "ZOHOPEOPLE.training"] {
            assert_eq!(scopes(wrong), None, "{wrong}");
        }
    }
}
