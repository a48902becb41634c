//! Collects what is wrong with a payload, up to a bound.

use crate::message::payload_error::Fault;

/// How many faults are listed at most. A caller who mends a hundred at once will gladly come back for the rest,
/// whereas a megabyte of commas must not be answered with a hundred megabytes of advice.
pub(super) const MOST: usize = 100;

/// The faults found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    faults: Vec<Fault>,
}

/// The same, with the parameter already named.
#[derive(Debug)]
pub(super) struct About<'f> {
    findings: &'f mut Findings,
    parameter: &'f str,
}

// === impl Findings ===

impl Findings {
    /// For reporting faults of one parameter.
    pub(super) fn about<'f>(&'f mut self, parameter: &'f str) -> About<'f> {
        About { findings: self, parameter }
    }

    /// Everything found, in the order in which it was.
    pub(super) fn into_result(self) -> Result<(), Vec<Fault>> {
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults) }
    }
}

// === impl About ===

impl About<'_> {
    /// Reports one fault, at `pointer` in the parameter's value.
    pub(super) fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if !self.is_full() {
            let parameter = self.parameter.to_owned();
            self.findings.faults.push(Fault { parameter, pointer: pointer.into(), detail: detail.into() });
        }
    }

    /// Whether looking further is idle, because nothing more will be listed.
    pub(super) fn is_full(&self) -> bool {
        self.findings.faults.len() >= MOST
    }
}
