//! `[accounts.NAME] share`: what it must leave of each limit. Rules about a share and other keys belong here.

use std::num::NonZeroU32;

use super::{
    Config,
    problem::{Findings, Origin, dotted},
};
use crate::zoho::{account::AccountName, share::Share};

/// A share that the configuration sets, whether or not the rest of its account is valid.
pub(super) struct AccountShare {
    pub(super) account: AccountName,
    pub(super) share: Share,
    pub(super) daily_calls: Option<NonZeroU32>,
    /// Where the share was written.
    pub(super) origin: Origin,
}

impl AccountShare {
    /// Notes each limit of which the share leaves nothing.
    pub(super) fn check(&self, config: &Config, findings: &Findings) {
        let Self { account, share, daily_calls, origin } = self;
        let routes = config.throttled_routes_of(account).filter_map(|route| {
            let threshold = route.threshold?;
            Some((route.id.as_str(), threshold.requests))
        });
        let limits = routes.chain([("token.requests", config.token.requests)]);
        let limits = limits.chain(daily_calls.map(|daily_calls| ("daily_calls", daily_calls)));
        for (name, limit) in limits.filter(|(_, limit)| share.leaves_nothing_of(*limit)) {
            findings.wrong_by(origin, || {
                let key = dotted(["accounts", account.as_str(), "share"]);
                (key, format!("leaves nothing of {name} = {limit}; expected at least \"1/{limit}\""))
            });
        }
    }
}
