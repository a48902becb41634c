//! The control plane under `/__sandbox/`: what the sandbox received, and commands for Zoho's own actions.
//!
//! | call | effect |
//! |---|---|
//! | `GET stats` | the counts by login and API, and the token calls by login |
//! | `GET requests` | the last People and Calendar requests as received |
//! | `POST revoke-access-tokens` | ends every access token |
//! | `POST revoke-refresh-tokens` | revokes every refresh token used so far, and `main`'s |
//! | `POST self-client-code?scope=<scopes>` | makes a code as the API console does for a self client |
//! | `POST lock?api=<name>&seconds=<n>` | locks an API for every login from now on; 0 ends its locks |
//! | `POST unknown-employee?erecno=<n>` | nobody has that record number from now on |
//! | `POST most-employees?number=<n>` | a share of more employees is refused from now on |
//! | `POST reset` | deletes counts, locks, requests and token calls; keeps tokens and shares |

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    answer::Answer,
    api::Api,
    codes::Grant,
    consent,
    request::Arrival,
    world::{Sandbox, World},
};
use crate::os::clock;

/// Answers a call to the control plane.
pub(super) fn answer(sandbox: &Sandbox, arrival: &Arrival) -> Answer {
    let [_, command] = arrival.segments()[..] else { return unknown() };
    let mut world = sandbox.world();
    match (&arrival.method, command) {
        (&Method::GET, "stats") => Answer::ok(stats(&world)),
        (&Method::GET, "requests") => Answer::ok(world.records.iter().map(|record| json!(record)).collect()),
        (&Method::POST, "revoke-access-tokens") => {
            world.tokens.end_all();
            done()
        }
        (&Method::POST, "revoke-refresh-tokens") => {
            world.tokens.revoke_all();
            done()
        }
        (&Method::POST, "self-client-code") => self_client_code(&mut world, arrival),
        (&Method::POST, "lock") => lock(&mut world, arrival),
        (&Method::POST, "unknown-employee") => {
            let Some(erecno) = arrival.parameter("erecno") else { return mistake("erecno is missing") };
            world.employees.unknown.push(erecno);
            done()
        }
        (&Method::POST, "most-employees") => {
            let number = arrival.parameter("number").and_then(|number| number.parse().ok());
            let Some(most) = number else { return mistake("number must be a number") };
            world.employees.most = Some(most);
            done()
        }
        (&Method::POST, "reset") => {
            world.meters.forget();
            world.records.forget();
            world.tokens.forget_calls();
            done()
        }
        _ => unknown(),
    }
}

fn stats(world: &World) -> Value {
    json!({"apis": world.meters.tallies(), "tokens": world.tokens.tallies()})
}

fn self_client_code(world: &mut World, arrival: &Arrival) -> Answer {
    let Some(scope) = arrival.parameter("scope").as_deref().and_then(consent::scopes) else {
        return mistake("scope must be a list such as ZOHOPEOPLE.training.ALL,ZohoCalendar.calendar.ALL");
    };
    let grant = Grant { redirect_uri: None, scope, refreshable: true };
    Answer::ok(json!({"code": world.codes.issue(grant, clock::now(), &mut world.random)}))
}

fn lock(world: &mut World, arrival: &Arrival) -> Answer {
    let named = arrival.parameter("api");
    let Some(api) = Api::ALL.into_iter().find(|api| Some(api.name()) == named.as_deref()) else {
        let names = Api::ALL.map(Api::name).join(", ");
        return mistake(&format!("api must be one of: {names}"));
    };
    let seconds = arrival.parameter("seconds").and_then(|seconds| seconds.parse().ok());
    let Some(lock) = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) else {
        return mistake("seconds must be a number, zero or above");
    };
    let Some(until) = clock::now().checked_add(lock) else { return mistake("seconds is too large") };
    world.meters.lock(api, until);
    done()
}

fn done() -> Answer {
    Answer::ok(json!({"done": true}))
}

fn mistake(message: &str) -> Answer {
    Answer::bad_request(json!({"message": message}))
}

fn unknown() -> Answer {
    Answer::new(
        StatusCode::NOT_FOUND,
        json!({"message": "commands: GET stats, requests; POST revoke-access-tokens, revoke-refresh-tokens, self-client-code, lock, unknown-employee, most-employees, reset"}),
    )
}
