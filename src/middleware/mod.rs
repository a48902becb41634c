//! The layers that a request passes, in the order of [`crate::app::stack`].

pub mod audit;
pub mod browser_guard;
pub mod cache;
pub mod caller;
pub mod dry_run;
pub mod edge;
pub mod forward;
pub mod jobs;
pub mod layer;
pub mod merge;
pub mod retry;
pub mod route;
pub mod single_flight;
pub mod throttle;
pub mod token;
pub mod validate;
