//! Zoho Accounts: the token endpoint, with its failures under HTTP 200.

use http::{Method, StatusCode};
use serde_json::json;

use super::answer::Answer;
use super::login::Login;
use super::request::Arrival;
use super::world::Sandbox;
use super::{CLIENT_ID, CLIENT_SECRET};
use crate::clock;

/// The host Zoho names in every token answer; it is neither People's nor Calendar's.
const API_DOMAIN: &str = "https://www.zohoapis.com";

/// The scopes of the simulated grant.
const SCOPE: &str = "ZOHOPEOPLE.training.ALL ZohoCalendar.calendar.ALL";

/// Answers a call of Zoho Accounts.
pub(super) async fn answer(sandbox: &Sandbox, arrival: &Arrival) -> Answer {
    let segments = arrival.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["oauth", "v2", "token"] if arrival.method == Method::POST => {
            // The token exists from here on; the delay is the answer's way back, which shortens what is left of it.
            let answer = refresh(sandbox, arrival);
            tokio::time::sleep(sandbox.settings.token_delay).await;
            answer
        }
        ["oauth", "v2", "token", "revoke"] if arrival.method == Method::POST => revoke(sandbox, arrival),
        ["oauth", "v2", "token"] | ["oauth", "v2", "token", "revoke"] => {
            Answer::new(StatusCode::METHOD_NOT_ALLOWED, json!({"error": "method_not_allowed"}))
        }
        _ => Answer::new(StatusCode::NOT_FOUND, json!({"error": "not_found"})),
    }
}

/// The refresh grant. Every call that names a refresh token counts against it, also one that fails for another reason.
fn refresh(sandbox: &Sandbox, arrival: &Arrival) -> Answer {
    let refresh_token = arrival.parameter("refresh_token").unwrap_or_default();
    let login = Login::of(&refresh_token);
    let mut world = sandbox.world();
    let world = &mut *world;
    let now = clock::now();

    if let Some(login) = &login
        && world.tokens.call(login, &refresh_token, now).is_refused()
    {
        return too_many_requests();
    }
    if arrival.parameter("client_id").as_deref() != Some(CLIENT_ID) {
        return failure("invalid_client");
    }
    if arrival.parameter("client_secret").as_deref() != Some(CLIENT_SECRET) {
        return failure("invalid_client_secret");
    }
    if arrival.parameter("grant_type").as_deref() != Some("refresh_token") {
        // What Zoho says here was nowhere to be read; the word is the one its users remember.
        return failure("general_error");
    }
    let Some(login) = login.filter(|_| !world.tokens.is_revoked(&refresh_token)) else {
        return failure("invalid_code");
    };
    let life = sandbox.settings.token_life;
    let access_token = world.tokens.grant(&login, now, life, &mut world.random);
    Answer::ok(json!({
        "access_token": access_token,
        "scope": SCOPE,
        "api_domain": API_DOMAIN,
        "token_type": "Bearer",
        "expires_in": life.as_secs().max(1),
    }))
}

fn revoke(sandbox: &Sandbox, arrival: &Arrival) -> Answer {
    let refresh_token = arrival.parameter("token").unwrap_or_default();
    let Some(login) = Login::of(&refresh_token) else {
        return failure("invalid_code");
    };
    sandbox.world().tokens.revoke(&login, &refresh_token);
    Answer::ok(json!({"status": "success"}))
}

/// A failure as Zoho Accounts tells it: under HTTP 200.
fn failure(error: &str) -> Answer {
    Answer::ok(json!({"error": error}))
}

fn too_many_requests() -> Answer {
    Answer::new(
        StatusCode::BAD_REQUEST,
        json!({
            "error_description": "You have made too many requests continuously. Please try again after some time.",
            "error": "Access Denied",
            "status": "failure",
        }),
    )
}
