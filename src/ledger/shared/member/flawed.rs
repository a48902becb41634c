//! Members that break a rule, to see that the simulation notices.

use super::{
    super::{message::Reply, simulation::Flaw, timing::Now},
    Member, Pending,
};

impl Member {
    /// Counts a part of an answer that no majority has confirmed.
    pub(super) fn count_unconfirmed(&mut self, reply: Reply, pending: &Pending, now: Now) {
        match self.flaw {
            Some(Flaw::TouchUnconfirmed) => self.touch = Some(pending.sent.boot),
            Some(Flaw::SilenceUnconfirmed) => {
                self.age = Some((reply.age, now.monotonic));
                self.watch(reply.silences, now.monotonic);
            }
            _ => {}
        }
    }
}
