//! One error in a payload, in words for the caller.

use serde::Serialize;

/// An error in one parameter. A refused payload carries all of its errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The parameter's name, for example `shareData`.
    pub parameter: String,
    /// Where in the parameter's JSON value, as a JSON pointer (RFC 6901); empty for the value as a whole.
    pub pointer: String,
    /// What was expected and what was found.
    pub detail: String,
}
