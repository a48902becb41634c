//! Rejects a payload that breaks a rule of the call's page at Zoho, before the call uses a slot.
//!
//! Zoho counts a wrong call against the threshold and answers it with a bare "Invalid parameter value". So the gateway
//! checks a payload against everything that the page documents, and against nothing else: unknown parameters and
//! unknown keys pass, and so does a parameter in a place where Zoho does not look for it (it does not count as given).
//! `validate = "strict"` rejects these three as well.
//!
//! The rules are data, see [`crate::zoho::catalogue::Shape`]; the code here has no rule for a single call.
//!
//! The check always rejects what two readers could understand differently: a parameter or a JSON key given twice,
//! broken percent-encoding, bytes that are not UTF-8, a number whose digits a float would lose.
//!
//! [`check`] is pure. It reports all faults at once, in a stable order: what cannot be decoded, then what is given
//! twice, then each parameter in the catalogue's order, then what the page does not know. After a hundred faults
//! (`findings.rs`) it stops, so that the answer stays smaller than the largest payload.
//!
//! | file | content |
//! |---|---|
//! | `rules.rs` | the order of the checks |
//! | `content.rs` | the kinds of bodies |
//! | `parameters.rs`, `multipart.rs` | the parameters in the query and in each kind of body |
//! | `json.rs`, `pointer.rs` | JSON without ambiguity, and the JSON pointer to a fault |
//! | `shape.rs` | arrays and objects against their shape in the catalogue |
//! | `scalar.rs`, `address.rs` | values without parts |
//! | `form.rs`, `charset.rs` | which bodies a server may read as a form, and in which charsets they are the same text |
//! | `service.rs`, `read_budget.rs` | how much of a body is read before the call queues |
//! | `findings.rs`, `wording.rs` | the list of faults, and their texts |

mod address;
mod charset;
mod content;
mod findings;
mod form;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod json;
mod multipart;
mod parameters;
mod pointer;
mod read_budget;
mod rules;
mod scalar;
mod service;
mod shape;
mod wording;

#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod weaker;

pub use content::Content;
pub use rules::check;
pub use service::Validate;
