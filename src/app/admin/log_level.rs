//! `/log-level`: what is logged, and how to change it until the next start.

use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::text;
use crate::{
    call::peer::ClientAddress,
    message::body::Body,
    telemetry::{self, LogLevel},
};

pub(super) const PATH: &str = "/log-level";

/// The longest level, in bytes.
const LONGEST: usize = 1024;

/// Shows the level, or changes it to the one in the body.
pub(super) async fn answer(method: &Method, body: Incoming, client: ClientAddress) -> Response<Body> {
    if *method == Method::PUT {
        let Ok(body) = Limited::new(body, LONGEST).collect().await else {
            return text(StatusCode::BAD_REQUEST, &format!("expected a level of up to {LONGEST} bytes\n"));
        };
        match String::from_utf8_lossy(&body.to_bytes()).trim().parse::<LogLevel>() {
            Ok(level) => change(&level, client),
            Err(error) => return text(StatusCode::BAD_REQUEST, &format!("{error}\n")),
        }
    }
    text(StatusCode::OK, &format!("{}\n", telemetry::log_level()))
}

fn change(to: &LogLevel, client: ClientAddress) {
    let from = telemetry::log_level();
    // Before the change, so that the line is there when the log is turned off.
    tracing::warn!(from, %to, %client, "the log level changes");
    telemetry::set_log_level(to);
}
