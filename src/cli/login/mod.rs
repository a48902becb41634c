//! How an account gets its refresh token, and how it revokes it.
//!
//! `command.rs` goes through the steps: a [`request`] for the scopes that the configured routes need opens Zoho's page in
//! a browser; Zoho sends the browser back with a code to a [`redirect`] listener on loopback; [`exchange`] finds the
//! data centre of the login and exchanges the code for a refresh token; [`token_file`] writes it to the configured
//! file. [`revoke`] is the way back.
//!
//! Guards: a redirect must carry this login's own `state`, the client's secret goes only to Zoho's known accounts
//! servers and the configured one, and the login asks only for scopes that the catalogue needs.

pub mod browser;
mod callback;
pub(super) mod command;
pub mod exchange;
mod page;
pub mod redirect;
pub mod request;
pub mod revoke;
pub mod scopes;
mod state;
pub mod token_file;

pub use callback::Redirect;
pub use page::Page;
pub use state::State;
