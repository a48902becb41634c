//! What becomes of an operator's action.

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::text;
use crate::message::body::Body;

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// In words.
    pub outcome: String,
    /// How many waiting calls were refused, pauses ended, or requests are in flight.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub count: Option<usize>,
}

/// Why an action was not taken.
pub(super) struct NotDone(pub(super) StatusCode, pub(super) String);

/// What became of an action, or why it was not taken.
pub(super) type Outcome = Result<Done, NotDone>;

impl From<NotDone> for Response<Body> {
    fn from(NotDone(status, words): NotDone) -> Self {
        text(status, &format!("{words}\n"))
    }
}

/// A wrong parameter.
impl From<String> for NotDone {
    fn from(words: String) -> Self {
        Self(StatusCode::BAD_REQUEST, words)
    }
}
