//! Records whose request it is and which call it makes, as soon as a layer knows: for its line in the log.

use std::sync::{Arc, OnceLock};

use super::CallContext;
use crate::{ledger::Caller, message::payload_error::Fault};

/// The record of a request. The edge creates one for each.
#[derive(Debug, Clone, Default)]
pub struct RequestLog(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    caller: OnceLock<Caller>,
    context: OnceLock<CallContext>,
    would_refuse: OnceLock<Vec<Fault>>,
}

impl RequestLog {
    /// Its caller is known.
    pub fn comes_from(&self, caller: &Caller) {
        let _ = self.0.caller.set(caller.clone());
    }

    /// Its account and route are known.
    pub(super) fn calls(&self, context: &CallContext) {
        let _ = self.0.context.set(context.clone());
    }

    /// It has these faults, and passes, because its route is only reported.
    pub(super) fn would_refuse(&self, faults: Vec<Fault>) {
        let _ = self.0.would_refuse.set(faults);
    }

    /// Whether it has faults and passed.
    pub(super) fn has_faults(&self) -> bool {
        self.0.would_refuse.get().is_some()
    }

    /// Where its faults are, if it has some and passed: names, and pointers into their values.
    #[must_use]
    pub fn reported(&self) -> Option<String> {
        let name = |fault: &Fault| format!("{}{}", fault.parameter, fault.pointer);
        let faults = self.0.would_refuse.get()?.iter().map(name);
        Some(faults.collect::<Vec<_>>().join(", "))
    }

    /// Its caller, if known.
    #[must_use]
    pub fn caller(&self) -> Option<&Caller> {
        self.0.caller.get()
    }

    /// Its account and route, if known.
    #[must_use]
    pub fn context(&self) -> Option<&CallContext> {
        self.0.context.get()
    }
}
