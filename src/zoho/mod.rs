//! Zoho: its products, data centres, accounts, catalogue of calls and the form of its answers.

pub mod account;
pub mod catalogue;
pub mod endpoint;
pub mod reply;
