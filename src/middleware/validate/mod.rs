//! Turns away a payload that the call's page at Zoho rules out, before it costs one of the call's few turns.
//!
//! A wrong call counts against Zoho's threshold like any other, and the answer it brings back is a bare
//! "Invalid parameter value". So the gateway holds a payload to everything the page documents, and to nothing the
//! page does not forbid: unknown parameters and unknown keys pass, and so does a parameter in a place where Zoho
//! does not look for it (it just does not count as given). `validate = "strict"` refuses these three as well.
//!
//! What a page documents is data, in the words of [`crate::zoho::catalogue::Shape`]; no rule of a single call is written here.
//!
//! What is never let through is what two readers could understand differently: a parameter or a JSON key given
//! twice, broken percent-encoding, bytes that are not UTF-8, a number whose digits a float would lose.
//!
//! [`check`] is pure. It reports all faults at once, in a stable order: what could not be decoded, then what was
//! given twice, then parameter by parameter in the catalogue's order, then what the page does not know. Only after a
//! hundred (`findings.rs`) it stops listing, so that an answer stays smaller than the worst question.
//!
//! | file | what it knows |
//! |---|---|
//! | `rules.rs` | the order in which things are looked at |
//! | `parameters.rs` | `application/x-www-form-urlencoded`, in the query and in the body |
//! | `json.rs`, `pointer.rs` | JSON without ambiguity, and where in it a fault stands |
//! | `shape.rs` | arrays and objects against the shape that the catalogue gives them |
//! | `scalar.rs`, `address.rs` | the kinds of value without parts |
//! | `form.rs`, `charset.rs` | which bodies a server may read as a form, and in which charset they say the same |
//! | `service.rs` | what is read of a body before the call queues, and what streams on |
//! | `findings.rs`, `wording.rs` | how faults are collected and put into words |

mod address;
mod charset;
mod findings;
mod form;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod json;
mod parameters;
mod pointer;
mod reading;
mod rules;
mod scalar;
mod service;
mod shape;
mod wording;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use rules::check;
pub use service::Validate;
