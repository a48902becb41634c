//! Handles one call, from its last byte to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use super::{
    accounts,
    answer::Answer,
    api::{Api, Part, Product},
    calendar, control,
    known::{self, Known},
    login::Login,
    people, refusal,
    request::{Arrival, BodyError},
    world::{Sandbox, World},
};
use crate::os::clock;

/// Answers `request` as the part of Zoho that its path belongs to.
pub(super) async fn handle(sandbox: Arc<Sandbox>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let arrival = Arrival::read(request).await;
    match Part::of(&arrival.segments()) {
        Part::Control => control::answer(&sandbox, &arrival).into_response(),
        Part::Accounts => accounts::answer(&sandbox, &arrival).await.into_response(),
        Part::Product(product) => product_call(&sandbox, product, &arrival).await,
    }
}

/// Handles a People or Calendar call. It is counted and executed between the two delays: before, it has not arrived at
/// Zoho; after, it cannot be undone.
async fn product_call(sandbox: &Sandbox, product: Product, arrival: &Arrival) -> Response<Full<Bytes>> {
    sandbox.world().records.keep(sandbox.age(), arrival);
    sandbox.delay().await;
    let response = {
        let mut world = sandbox.world();
        let answer = decide(sandbox, &mut world, product, arrival);
        answer.with_cookies(product, &mut world.random)
    };
    sandbox.delay().await;
    response
}

/// Checks the login, the threshold, the token's validity, and only then the request itself.
///
/// The count comes before the token's validity, because a dead token still identifies the login, and because it is the
/// stricter assumption that a refused call counts.
fn decide(sandbox: &Sandbox, world: &mut World, product: Product, arrival: &Arrival) -> Answer {
    // Read under the world's lock, so that arrivals are metered in the order of their times.
    let now = clock::now();
    let segments = arrival.segments();
    let api = Api::of(product, &arrival.method, &segments);
    let Some(token) = arrival.access_token() else {
        return refusal::missing_token(product);
    };
    let Some(login) = world.tokens.login_of(token) else {
        return refusal::dead_token(product);
    };
    if world.meters.arrive(&login, api, now).is_refused() {
        return refusal::locked(product, sandbox.settings.lock_answer);
    }
    if !world.tokens.is_live(token, now) {
        return refusal::dead_token(product);
    }
    match arrival.body {
        Err(BodyError::TooLarge) => refusal::too_large(product),
        // The caller is gone and cannot read this answer.
        Err(BodyError::Broken) => refusal::broken_body(product),
        Ok(_) => match known::look_up(product, &arrival.method, &segments) {
            Known::Path if !sandbox.settings.lenient => refusal::wrong_method(product),
            Known::Nothing if !sandbox.settings.lenient => refusal::unknown_path(product),
            _ => execute(world, &login, api, arrival, &segments),
        },
    }
}

fn execute(world: &mut World, login: &Login, api: Api, arrival: &Arrival, segments: &[&str]) -> Answer {
    // The known APIs have their id as the fourth segment: /api/v1/courses/{id}/share.
    let id = segments.get(3).copied().unwrap_or_default();
    match api {
        Api::ShareCourse => people::share(&world.employees, world.courses.of(login, id), arrival),
        Api::SharedUsers => people::shared_users(world.courses.of(login, id), arrival),
        Api::RemoveShare => people::remove_share(world.courses.of(login, id), arrival),
        Api::PeopleOther => people::other(&arrival.path),
        Api::ShareCalendar => calendar::share(world.calendars.of(login, id), arrival),
        Api::CalendarShares => calendar::shares(world.calendars.of(login, id)),
        Api::CalendarOther => calendar::other(),
    }
}
