//! zoho-gateway: an authenticating reverse proxy for Zoho People and Zoho Calendar.
//!
//! Start with ARCHITECTURE.md, then [`stack`]: the whole path of a request on one page.

// Beside the path: what builds and starts the house.
pub mod app;
pub mod cli;
pub mod config;
pub mod stack;

// The rooms, in the order a request walks them.
pub mod audit;
pub mod cache;
pub mod caller;
pub mod dry_run;
pub mod edge;
pub mod forward;
pub mod guard;
pub mod listener;
pub mod retry;
pub mod route;
pub mod throttle;
pub mod token;
pub mod validate;

// What stands beside the path.
pub mod admin;
pub mod login;
pub mod sandbox;

// The floor that all rooms stand on.
pub mod account;
pub mod body;
pub mod boxed;
pub mod call;
pub mod catalogue;
pub mod clock;
pub mod credential;
pub mod endpoint;
pub mod fault;
pub mod gcra;
pub mod hex;
pub mod hop;
pub mod host;
pub mod ledger;
pub mod overrides;
pub mod peer;
pub mod pem;
pub mod permissions;
pub mod priority;
pub mod protocol;
pub mod ratelimit;
pub mod refusal;
pub mod reread;
pub mod respond;
pub mod retry_after;
pub mod secret;
pub mod shutdown;
pub mod store;
pub mod success;
pub mod telemetry;
pub mod trail;
pub mod trial;
pub mod upstream;
pub mod wait;
