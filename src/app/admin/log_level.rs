//! `/log-level`: what is logged, and how to change it until the next start.

use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::text;
use crate::{
    message::body::Body,
    telemetry::{self, LogLevel},
};

/// The longest level, in bytes.
const LONGEST: usize = 1024;

/// Shows the level.
pub(super) fn show() -> Response<Body> {
    text(StatusCode::OK, &format!("{}\n", telemetry::log_level()))
}

/// Changes the level to the one in the body, and shows it.
pub(super) async fn set(body: Incoming, operator: &str) -> Response<Body> {
    let Ok(body) = Limited::new(body, LONGEST).collect().await else {
        return text(StatusCode::BAD_REQUEST, &format!("expected a level of up to {LONGEST} bytes\n"));
    };
    match String::from_utf8_lossy(&body.to_bytes()).trim().parse::<LogLevel>() {
        Ok(level) => {
            // Before the change, so that the line is there when the log is turned off.
            tracing::warn!(from = telemetry::log_level(), to = %level, operator, "the log level changes");
            telemetry::set_log_level(&level);
            show()
        }
        Err(error) => text(StatusCode::BAD_REQUEST, &format!("{error}\n")),
    }
}
