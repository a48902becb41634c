//! Login and logout: getting an account's refresh token, and revoking it.
//!
//! A [`request`] names the scopes that the routes in force need and opens Zoho's page in a browser. Zoho sends the browser
//! back to a [`redirect`] listener on loopback with a code. [`exchange`] finds the login's data centre and exchanges the
//! code for a refresh token. [`token_file`] writes it to the configured file, and [`revoke`] revokes it. `command` runs
//! these steps.
//!
//! Guards: only a redirect with this login's own `state` counts, the client's secret goes only to Zoho's known accounts
//! servers and the configured one, and a login asks only for scopes that the catalogue needs.

pub mod browser;
mod callback;
pub(super) mod command;
pub mod exchange;
mod page;
pub mod redirect;
pub mod request;
pub mod revoke;
mod state;
pub mod token_file;

pub use callback::{NoCode, Redirect};
pub use page::Page;
pub use state::State;
