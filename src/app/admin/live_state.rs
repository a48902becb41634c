//! The live state that `/metrics` shows.

use super::Admin;
use crate::{
    middleware::token::TokenHealth,
    telemetry::{LiveState, LoginState},
};

impl Admin {
    /// The state of the ledger, the jobs and the logins now.
    pub(super) fn live_state(&self) -> LiveState {
        let jobs = self.jobs.as_ref().map(|jobs| jobs.counts()).unwrap_or_default();
        let logins = self.sources.iter().map(|(account, source)| LoginState {
            account: account.clone(),
            rejected: matches!(source.health(), TokenHealth::Rejected(_)),
            token: source.token_age(),
        });
        LiveState {
            limiters: self.limiters.status(),
            waiting: self.limiters.waiting(),
            waiting_limit: self.limiters.context().capacity.limit(),
            state_available: self.can_record(),
            jobs: jobs.into_iter().map(|(state, jobs)| (state.as_str(), jobs)).collect(),
            logins: logins.collect(),
        }
    }
}
