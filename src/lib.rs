//! zoho-gateway: an authenticating reverse proxy for Zoho People and Zoho Calendar.
//!
//! Start with ARCHITECTURE.md, then [`app::stack`]: the whole path of a request on one page.

pub mod app;
pub mod call;
pub mod cli;
pub mod config;
pub mod ledger;
pub mod listener;
pub mod message;
pub mod middleware;
pub mod os;
pub mod problem;
pub mod redis;
pub mod sandbox;
pub mod secret;
pub mod telemetry;
pub mod upstream;
pub mod zoho;
