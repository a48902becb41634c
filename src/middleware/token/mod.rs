//! Gives a permitted call the access token of its account.
//!
//! Takes a [`Permitted`] and passes on a [`Signed`]. One token serves all callers of an account. One request renews it
//! shortly before it expires, and replaces it when Zoho calls it dead (`rejections`). Rejects a call if Zoho does not accept
//! the account's credentials, or if no token request may be made now. A layer before it, `scope`, rejects a [`Call`] whose
//! scope the login lacks before the call uses a slot.
//!
//! Guarantees: the token endpoint gets at most ten requests in ten minutes, which the same ledger enforces as for calls,
//! and one request for any number of simultaneous "dead token" answers.

mod data_centers;
mod files;
mod grant;
mod limits;
mod rejections;
mod request;
mod scope;
mod scope_status;
mod seal;
mod service;
mod shared;
mod source;
mod state;
mod status;
mod storage;
#[cfg(test)]
mod tests;
mod turns;

pub use files::follow_files;
pub use grant::{Admission, Code, Grants};
pub use limits::{TokenLedger, TokenLimits};
pub use scope::CheckScope;
pub use service::Sign;
pub use source::Source;
pub use state::TokenHealth;
pub use status::{LastTokenError, TokenCondition, TokenRequests, TokenStatus};
pub use turns::Turns;

#[cfg(doc)]
use crate::call::{Call, Permitted, Signed};
