//! Zoho Accounts: the consent page and the token endpoint, with its failures under HTTP 200.

use http::{Method, StatusCode};
use serde_json::json;

use super::{
    CLIENT_ID, CLIENT_SECRET,
    answer::Answer,
    codes::{Grant, Refused},
    consent,
    login::Login,
    request::Arrival,
    world::{Sandbox, World},
};
use crate::os::clock;

/// The host that Zoho names in every token answer; it differs from People's and Calendar's.
const API_DOMAIN: &str = "https://www.zohoapis.com";

/// The scopes of a refresh token that was issued without particular scopes: all that the pages of the two products
/// name.
const SCOPE: &str = "ZOHOPEOPLE.attendance.ALL ZOHOPEOPLE.automation.ALL ZOHOPEOPLE.compensation.ALL \
    ZOHOPEOPLE.dashboard.ALL ZOHOPEOPLE.employee.ALL ZOHOPEOPLE.files.ALL ZOHOPEOPLE.form.ALL ZOHOPEOPLE.forms.ALL \
    ZOHOPEOPLE.hrprocess.ALL ZOHOPEOPLE.leave.ALL ZOHOPEOPLE.organization.ALL ZOHOPEOPLE.orgstructure.ALL \
    ZOHOPEOPLE.survey.ALL ZOHOPEOPLE.timetracker.ALL ZOHOPEOPLE.training.ALL ZohoCalendar.calendar.ALL \
    ZohoCalendar.event.ALL ZohoCalendar.freebusy.ALL ZohoCalendar.group.ALL ZohoCalendar.notification.ALL \
    ZohoCalendar.resources.ALL ZohoCalendar.search.ALL ZohoCalendar.settings.ALL";

/// Answers a call to Zoho Accounts.
pub(super) async fn answer(sandbox: &Sandbox, arrival: &Arrival) -> Answer {
    match arrival.segments().as_slice() {
        ["oauth", "v2", "token"] if arrival.method == Method::POST => {
            // The token exists from now on; the delay is the way back of the answer, which shortens its remaining life.
            let answer = grant(sandbox, arrival);
            tokio::time::sleep(sandbox.settings.token_delay).await;
            answer
        }
        ["oauth", "v2", "auth"] => consent::ask(sandbox, arrival),
        ["oauth", "v2", "token", "revoke"] if arrival.method == Method::POST => revoke(sandbox, arrival),
        ["oauth", "v2", "token"] | ["oauth", "v2", "token", "revoke"] => Answer::method_not_allowed(),
        _ => Answer::new(StatusCode::NOT_FOUND, json!({"error": "not_found"})),
    }
}

/// A token request. Every request that names a refresh token counts against it, even if it fails for another reason.
fn grant(sandbox: &Sandbox, arrival: &Arrival) -> Answer {
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
    match arrival.parameter("grant_type").as_deref() {
        Some("refresh_token") => refresh(sandbox, world, login, &refresh_token),
        Some("authorization_code") => redeem(sandbox, world, arrival),
        // Zoho's real answer is undocumented; this is the word that its users report.
        _ => failure("general_error"),
    }
}

/// The refresh grant: another access token.
fn refresh(sandbox: &Sandbox, world: &mut World, login: Option<Login>, refresh_token: &str) -> Answer {
    let Some(login) = login.filter(|_| !world.tokens.is_revoked(refresh_token)) else {
        return failure("invalid_code");
    };
    let scope = world.tokens.scope(refresh_token).unwrap_or(SCOPE).to_owned();
    granted(sandbox, world, &login, &scope)
}

/// The authorisation code grant: an access token, and a refresh token of a new login.
fn redeem(sandbox: &Sandbox, world: &mut World, arrival: &Arrival) -> Answer {
    let code = arrival.parameter("code").unwrap_or_default();
    let redirect_uri = arrival.parameter("redirect_uri");
    let Grant { scope, refreshable, .. } = match world.codes.redeem(&code, redirect_uri.as_deref(), clock::now()) {
        Ok(grant) => grant,
        Err(Refused::Code) => return failure("invalid_code"),
        Err(Refused::RedirectUri) => return failure("invalid_redirect_uri"),
    };
    let refresh_token = world.tokens.issue_refresh_token(scope.clone(), &mut world.random);
    let Some(login) = Login::of(&refresh_token) else { return failure("general_error") };
    let mut answer = granted(sandbox, world, &login, &scope);
    if refreshable {
        answer.body["refresh_token"] = refresh_token.into();
    }
    answer
}

fn granted(sandbox: &Sandbox, world: &mut World, login: &Login, scope: &str) -> Answer {
    let life = sandbox.settings.token_life;
    let access_token = world.tokens.grant(login, clock::now(), life, &mut world.random);
    Answer::ok(json!({
        "access_token": access_token,
        "scope": scope,
        "api_domain": API_DOMAIN,
        "token_type": "Bearer",
        "expires_in": life.as_secs().max(1),
    }))
}

fn revoke(sandbox: &Sandbox, arrival: &Arrival) -> Answer {
    let refresh_token = arrival.parameter("token").unwrap_or_default();
    let Some(login) = Login::of(&refresh_token) else { return failure("invalid_code") };
    sandbox.world().tokens.revoke(&login, &refresh_token);
    Answer::ok(json!({"status": "success"}))
}

/// A failure in Zoho Accounts' form: under HTTP 200.
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
