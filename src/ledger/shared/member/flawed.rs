//! Members that break a rule, to see that the simulation notices.

use super::{super::simulation::Flaw, Member, Pending};

impl Member {
    /// Counts a part of an answer that no majority has confirmed.
    pub(super) fn count_unconfirmed(&mut self, pending: &Pending) {
        if self.flaw == Some(Flaw::TouchUnconfirmed) {
            self.touch = Some(pending.sent.boot);
        }
    }
}
