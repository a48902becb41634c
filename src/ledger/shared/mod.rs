//! The lower part of the ledger for several processes: each slot is held by exactly one of them, or free in a record on
//! Redis or Valkey that all share.
//!
//! [`member`] decides what this process may use and asks for; `exchange.lua` is the one script that changes a record;
//! [`link`] carries requests and answers; [`backend`] and [`shared_slots`] are the adapter of the port; [`limit_sets`] says
//! which limits a caller's calls count against; [`view`] reads records for operators, in the form of [`status`].
//! docs/shared-ledger.md has the design and why it is right.

mod account;
mod backend;
#[cfg(test)]
mod gateways_tests;
mod limit;
mod limit_sets;
mod link;
mod member;
mod message;
mod shared_slots;
#[cfg(test)]
mod simulation;
mod status;
mod timing;
mod view;

pub use self::{
    backend::{FROZEN, ProcessName, SharedBackend, SharedTiming},
    status::{
        Holding, LockReason, LockStatus, MemberState, MemberStatus, OwnStatus, RecordStatus, SharedStatus, Shut,
        WaitingStatus,
    },
};
