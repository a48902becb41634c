//! One thing wrong with a payload, in words for the caller.

use serde::Serialize;

/// A fault in one parameter; a refused payload carries all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The parameter's name, for example `shareData`.
    pub parameter: String,
    /// Where in the parameter's JSON value, as a JSON pointer (RFC 6901); empty for the value as a whole.
    pub pointer: String,
    /// What was expected and what stands there.
    pub detail: String,
}
