//! A write on its way through the cache.

use std::mem;

use super::{
    epochs::{Epochs, Invalidation, LinkedRead, Resource},
    invalidations::Invalidations,
};
use crate::call::{
    Call,
    attempt_log::{AttemptLog, Fate},
};

/// A write in progress. Dropping it ends the write, also when its caller leaves.
#[derive(Debug)]
pub(super) struct Write {
    epochs: Epochs,
    resources: Vec<Resource>,
    attempt_log: AttemptLog,
    others: Option<Invalidations>,
    ended: bool,
}

impl Write {
    /// Starts a write. Its attempt log says at the end whether Zoho may have executed it. `others` are the gateways that
    /// have to learn of it, and `reads` the calls whose answers may be stored.
    pub(super) fn start(call: &Call, epochs: &Epochs, others: Option<Invalidations>, reads: &[LinkedRead]) -> Self {
        let (epochs, attempt_log) = (epochs.clone(), call.attempt_log.clone());
        let globs = &call.context.route.stale.reads;
        let is_stale = |read: &&LinkedRead| globs.iter().any(|glob| glob.matches(read.id.as_str()));
        let stale = reads.iter().filter(is_stale).map(|read| Resource::of_read(call, read));
        let resources = std::iter::once(Resource::path(call)).chain(stale).collect();
        Self { epochs, resources, attempt_log, others, ended: false }
    }

    /// Ends the write, and resolves when other gateways know it, or soon. `done`: Zoho has answered, so it executes nothing
    /// any more.
    pub(super) fn end(mut self, done: bool) -> impl Future<Output = ()> + Send + use<> {
        let told = self.finish(done);
        async {
            if let Some(told) = told {
                told.await;
            }
        }
    }

    fn finish(&mut self, done: bool) -> Option<impl Future<Output = ()> + Send + use<>> {
        self.ended = true;
        if self.attempt_log.fate() != Fate::Unknown {
            return None;
        }
        let uncertain = !done;
        for &resource in &self.resources {
            self.epochs.written(Invalidation { resource, uncertain });
        }
        self.others.as_ref().map(|others| others.tell(mem::take(&mut self.resources), uncertain))
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.finish(false);
        }
    }
}
