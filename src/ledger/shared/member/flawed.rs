//! Members that break a rule, to see that the simulation notices.

use super::{
    super::{simulation::Flaw, timing::Now},
    Member, Pending,
};

impl Member {
    /// Counts a request as touch although no majority has confirmed it.
    pub(super) fn count_unconfirmed(&mut self, pending: &Pending) {
        if self.flaw == Some(Flaw::TouchUnconfirmed) {
            self.touch = Some(pending.sent.boot);
        }
    }

    /// Begins the lease when the answer comes.
    pub(super) fn count_from_another_moment(&mut self, pending: &Pending, now: Now) {
        if self.flaw == Some(Flaw::LeaseFromAnswer) {
            self.touch = Some(now.boot.max(pending.sent.boot));
        }
    }
}
