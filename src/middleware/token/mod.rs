//! Gives a permitted call the access token of its account.
//!
//! Before it, where slots are not yet spent, `scope` refuses a [`Call`] that the account's login was not granted.
//! In comes a [`Permitted`], on goes a [`Signed`]. One token serves all callers of an account; it is renewed a little
//! early by one request for everybody who waits, and replaced when Zoho says that it is dead, as far as that is the reason
//! (`rejections`). Refused is a call
//! whose account Zoho no longer takes, or may not be asked about for now.
//!
//! Guards: the token endpoint sees at most ten calls in ten minutes, by the same ledger that guards the calls, and for
//! any number of simultaneous "dead token" answers it sees one.

mod elsewhere;
mod files;
mod grant;
mod limits;
mod rejections;
mod request;
mod scope;
mod seal;
mod service;
mod source;
mod state;
#[cfg(test)]
mod tests;

pub use files::follow_files;
pub use grant::{Admission, Code, Grants};
pub use limits::{TokenLedger, TokenLimits};
pub use scope::CheckScope;
pub use service::Sign;
pub use source::{Source, Standing};

#[cfg(doc)]
use crate::call::{Call, Permitted, Signed};
