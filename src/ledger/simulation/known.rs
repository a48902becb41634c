//! The locks that were reported to the gateway, recorded by the checker, and whether the gateway obeys them.

/// A call by its number.
pub(super) type Number = usize;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// The latest end of a lock at Zoho that an answer reported.
    pub(super) lock_ends: u64,
    /// `Some` if no call was executed since a lock: then the probe, if it is in flight.
    probe: Option<Option<Number>>,
}

/// A call that should not have been sent.
#[derive(Debug)]
pub(super) enum ForbiddenCall {
    InALock { until: u64 },
    NotAlone { other: Number },
}

impl Known {
    /// The gateway may have received a lock.
    pub(super) fn probe_needed(&mut self) {
        self.probe = Some(None);
    }

    pub(super) fn for_a_new_process(mut self) -> Self {
        self.probe = self.probe.map(|_| None);
        self
    }

    pub(super) fn sent(&mut self, number: Number, now: u64) -> Result<(), ForbiddenCall> {
        if now < self.lock_ends {
            return Err(ForbiddenCall::InALock { until: self.lock_ends });
        }
        match &mut self.probe {
            Some(Some(other)) => return Err(ForbiddenCall::NotAlone { other: *other }),
            Some(probe) => *probe = Some(number),
            None => {}
        }
        Ok(())
    }

    pub(super) fn lock_reported(&mut self, until: u64) {
        self.lock_ends = self.lock_ends.max(until);
        self.probe_needed();
    }

    pub(super) fn executed(&mut self, number: Number) {
        if self.probe == Some(Some(number)) {
            self.probe = None;
        }
    }

    /// It will stay unknown whether this call was executed.
    pub(super) fn ended_without_result(&mut self, number: Number) {
        if self.probe == Some(Some(number)) {
            self.probe = Some(None);
        }
    }
}
