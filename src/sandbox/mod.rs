//! A simulated Zoho: Accounts, People and Calendar behind one listener, told apart by path.
//!
//! It serves `run --sandbox`, the project's own tests and users' integration tests, and it judges: it counts calls
//! when they *arrive*, in any rolling window, and keeps a record of what it saw. Therefore it shares no code with the
//! gateway, the clock excepted, and where Zoho's pages leave a question open it takes the strictest reading:
//!
//! - One count per login and API (method and path template), whatever the id in the path says.
//! - Every call of a known login counts, also one with a dead token, one during a lock, and one whose caller hung up.
//! - A call that no page documents, by its path or its method, gets 404, unless the sandbox is lenient.
//! - A call over the threshold is refused and locks its API; calls during a lock are refused and do not prolong it.
//!
//! Where to read on: `visit.rs` tells one call's story, `request.rs` decodes it, `tokens.rs` knows whose it is,
//! `meter.rs` counts it, `known.rs` looks it up, and `people.rs` or `calendar.rs` answers in the shape of Zoho's page. `accounts.rs` is the token
//! endpoint, `consent.rs` the page on which a user lets a client in. `control.rs` is no part of Zoho: under
//! `/__sandbox/` a test reads the counts and pulls the levers.
//!
//! # Logins
//!
//! [`REFRESH_TOKEN`] is the login `main`. Every other refresh token that starts with `1000.sandbox.` is a valid one
//! too, of a login of its own named after its last eight characters; counts, locks, tokens and shares are per login. So is
//! each refresh token that a code was exchanged for.

mod accounts;
mod answer;
mod api;
mod calendar;
mod codes;
mod consent;
mod control;
mod known;
mod login;
mod meter;
mod meters;
mod people;
mod random;
mod records;
mod refusal;
mod request;
mod serve;
mod settings;
mod tokens;
mod visit;
mod world;

pub use login::REFRESH_TOKEN;
pub use serve::serve;
pub use settings::{LockAnswer, Settings};

/// The one client id the sandbox knows.
pub const CLIENT_ID: &str = "1000.SANDBOX";

/// The secret that belongs to [`CLIENT_ID`].
pub const CLIENT_SECRET: &str = "sandbox-client-secret";

#[cfg(test)]
mod tests;
