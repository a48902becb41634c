//! Collects the faults of a payload, up to a maximum.

use crate::message::payload_error::Fault;

/// How many faults are listed at most. Without a maximum, the answer to a megabyte of commas would have a hundred
/// megabytes.
pub(super) const MAX_FAULTS: usize = 100;

/// The faults found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    faults: Vec<Fault>,
}

/// Adds faults of one parameter.
#[derive(Debug)]
pub(super) struct About<'f> {
    findings: &'f mut Findings,
    parameter: &'f str,
}

// === impl Findings ===

impl Findings {
    /// Adds faults of this parameter.
    pub(super) fn about<'f>(&'f mut self, parameter: &'f str) -> About<'f> {
        About { findings: self, parameter }
    }

    /// All faults, in the order in which they were found.
    pub(super) fn into_result(self) -> Result<(), Vec<Fault>> {
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults) }
    }
}

// === impl About ===

impl About<'_> {
    /// Adds one fault, at `pointer` in the parameter's value.
    pub(super) fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if !self.is_full() {
            let parameter = self.parameter.to_owned();
            self.findings.faults.push(Fault { parameter, pointer: pointer.into(), detail: detail.into() });
        }
    }

    /// Whether the list is full, so that further checks have no effect.
    pub(super) fn is_full(&self) -> bool {
        self.findings.faults.len() >= MAX_FAULTS
    }
}
