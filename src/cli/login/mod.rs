//! Getting in and out: how an account comes by its refresh token, and how it gives it back.
//!
//! The address of Zoho's page names the scopes that the routes in force need and is opened in a [`browser`]; Zoho sends the
//! browser back to a [`redirect`] listener on loopback with a code; [`exchange`] finds the data centre that the login
//! lives in and makes a refresh token of the code; [`keep`] puts it where the configuration says. [`revoke`] takes it
//! back. The command line plays it in this order (`cli/login.rs`).
//!
//! Guards: only a redirect that carries this login's own `state` is believed, the client's secret goes to no other host
//! than Zoho's known accounts servers and the configured one, and what is asked for is what the catalogue needs.

pub mod browser;
mod callback;
pub(super) mod command;
pub mod exchange;
pub mod keep;
mod page;
mod random;
pub mod redirect;
pub mod request;
pub mod revoke;
mod state;

pub use callback::Redirect;
pub use page::Page;
pub use random::NoRandomness;
pub use state::State;
