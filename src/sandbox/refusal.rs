//! The refusals of each product. People's and Calendar's shapes have nothing in common.

use http::StatusCode;
use serde_json::{Value, json};

use super::{answer::Answer, api::Product, settings::LockAnswer};

/// For a missing or blank credential. Both products call that a bad request, not an unauthorised one.
pub(super) fn missing_token(product: Product) -> Answer {
    match product {
        Product::People => Answer::new(
            StatusCode::BAD_REQUEST,
            // It lacks the "message" of other errors, as measured.
            json!({"response": {"errors": people_error(7202, "Provided authentication token is invalid."), "status": 1}}),
        ),
        Product::Calendar => calendar(StatusCode::BAD_REQUEST, "INVALID_TICKET", "Invalid ticket."),
    }
}

/// For a token that was never issued, has expired or was revoked.
pub(super) fn dead_token(product: Product) -> Answer {
    match product {
        Product::People => people(StatusCode::UNAUTHORIZED, 7213, "The provided OAuth token is invalid."),
        Product::Calendar => calendar(StatusCode::UNAUTHORIZED, "INVALID_OAUTHTOKEN", "Invalid OAuth token."),
    }
}

/// For a call that starts a lock or arrives during one.
pub(super) fn locked(product: Product, form: LockAnswer) -> Answer {
    let blocked = "API access blocked since threshold limit exceeded. Please try after some time";
    match (product, form) {
        // Its status is documented, its body is not; 7209 is a number of People only.
        (Product::Calendar, _) => calendar(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", "Too many requests."),
        (Product::People, LockAnswer::Status429) => people(StatusCode::TOO_MANY_REQUESTS, 7209, blocked),
        (Product::People, LockAnswer::Status400) => people(StatusCode::BAD_REQUEST, 7209, blocked),
        (Product::People, LockAnswer::Status200) => people(StatusCode::OK, 7209, blocked),
        (Product::People, LockAnswer::Status200Array) => {
            people_with(StatusCode::OK, json!([people_error(7209, blocked)]))
        }
    }
}

/// For an undocumented path. Zoho's code for it is documented; Calendar's words for it are not.
pub(super) fn unknown_path(product: Product) -> Answer {
    match product {
        Product::People => people(StatusCode::NOT_FOUND, 7201, "Invalid URL."),
        Product::Calendar => calendar(StatusCode::NOT_FOUND, "URL_NOT_FOUND", "Invalid URL."),
    }
}

/// For a path that is documented with other methods.
pub(super) fn wrong_method(product: Product) -> Answer {
    match product {
        Product::People => people(StatusCode::NOT_FOUND, 7216, "Invalid HTTP method."),
        Product::Calendar => calendar(StatusCode::NOT_FOUND, "INVALID_METHOD", "Invalid HTTP method."),
    }
}

/// For a body above the sandbox's limit.
pub(super) fn too_large(product: Product) -> Answer {
    match product {
        Product::People => people(StatusCode::PAYLOAD_TOO_LARGE, 7200, "The request is too large."),
        Product::Calendar => calendar(StatusCode::PAYLOAD_TOO_LARGE, "REQUEST_TOO_LARGE", "The request is too large."),
    }
}

/// For an incomplete body.
pub(super) fn broken_body(product: Product) -> Answer {
    match product {
        Product::People => people(StatusCode::BAD_REQUEST, 7200, "The request is incomplete."),
        Product::Calendar => calendar(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "The request is incomplete."),
    }
}

/// A failure of People: `errors` is an object.
pub(super) fn people(status: StatusCode, code: u32, message: &str) -> Answer {
    people_with(status, people_error(code, message))
}

/// A failure of Calendar: `error` is an array.
pub(super) fn calendar(status: StatusCode, code: &str, description: &str) -> Answer {
    Answer::new(status, json!({"error": [{"description": description, "error_code": code, "message": code}]}))
}

fn people_with(status: StatusCode, errors: Value) -> Answer {
    Answer::new(status, json!({"response": {"message": "Error occurred", "errors": errors, "status": 1}}))
}

fn people_error(code: u32, message: &str) -> Value {
    json!({"code": code, "message": message})
}
