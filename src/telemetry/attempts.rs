//! Counts and logs the locks that attempts report, and counts how long Zoho takes to answer.

use super::Metrics;
use crate::{
    ledger::{AttemptOf, Observer, Step},
    os::clock,
};

impl Observer for Metrics {
    fn step(&self, AttemptOf { key, request_id, .. }: &AttemptOf<'_>, step: &Step) {
        let hit = match step {
            Step::Answered { sent_at, .. } => {
                return self.upstream_answered(key, clock::now().saturating_duration_since(*sent_at));
            }
            Step::PayloadRefused(code) => return self.rejected_payload(key, code),
            Step::Locked(hit) => hit,
            _ => return,
        };
        self.locked(key, hit);
        let (account, route) = (&key.account, &key.limit);
        let lasts_s = hit.until.saturating_duration_since(clock::now()).as_secs();
        tracing::warn!(%account, %route, request_id, lasts_s, "Zoho has locked the call; nothing is sent until the lock ends");
        if hit.external {
            tracing::warn!(%account, %route, request_id, "Zoho locked this call although the ledger had free slots: another client uses the same quota, most likely another gateway on this login (the shares of all its gateways must not exceed 1 together), otherwise a script or another program; /status has the calls of the last window");
        }
    }
}
