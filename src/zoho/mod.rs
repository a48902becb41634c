//! Everything that applies only to Zoho: products, data centres and hosts, accounts and their shares, the catalogue of calls,
//! scopes, the form of its answers, and the dialect of its accounts server.

pub mod account;
pub mod accounts_server;
pub mod catalogue;
pub mod data_center;
pub mod endpoint;
pub mod host;
pub mod product;
pub mod reply;
pub mod scope;
pub mod share;
