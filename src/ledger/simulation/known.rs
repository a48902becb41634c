//! What the gateway was told of locks, noted by the judge, and whether it keeps to it.

/// A call by its number.
pub(super) type Number = usize;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// The latest end of a lock at Zoho of which an answer told.
    pub(super) lock_ends: u64,
    /// Nothing was executed since a lock; the call that went alone, if it is on its way.
    alone: Option<Option<Number>>,
}

/// A call was sent that had to wait.
#[derive(Debug)]
pub(super) enum Wrong {
    InALock { until: u64 },
    NotAlone { beside: Number },
}

impl Known {
    /// The gateway may have been told of a lock.
    pub(super) fn after_a_lock(&mut self) {
        self.alone = Some(None);
    }

    pub(super) fn in_a_new_process(mut self) -> Self {
        self.alone = self.alone.map(|_| None);
        self
    }

    pub(super) fn sent(&mut self, number: Number, now: u64) -> Result<(), Wrong> {
        if now < self.lock_ends {
            return Err(Wrong::InALock { until: self.lock_ends });
        }
        match &mut self.alone {
            Some(Some(beside)) => return Err(Wrong::NotAlone { beside: *beside }),
            Some(alone) => *alone = Some(number),
            None => {}
        }
        Ok(())
    }

    pub(super) fn told_of_a_lock(&mut self, until: u64) {
        self.lock_ends = self.lock_ends.max(until);
        self.after_a_lock();
    }

    pub(super) fn executed(&mut self, number: Number) {
        if self.alone == Some(Some(number)) {
            self.alone = None;
        }
    }

    /// It will never be known whether it was executed.
    pub(super) fn came_to_nothing(&mut self, number: Number) {
        if self.alone == Some(Some(number)) {
            self.alone = Some(None);
        }
    }
}
