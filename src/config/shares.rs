//! `[accounts.NAME] share`: what it must leave of each limit. Rules about a share and other keys belong here.

use std::{collections::BTreeMap, num::NonZeroU32};

use super::{
    Config,
    problem::{Findings, Origin, dotted},
};
use crate::zoho::{account::AccountName, share::Share};

/// How many limits of one number are named.
const MOST_NAMES: usize = 10;

/// A share that the configuration sets, whether or not the rest of its account is valid.
pub(super) struct AccountShare {
    pub(super) account: AccountName,
    pub(super) share: Share,
    pub(super) daily_calls: Option<NonZeroU32>,
    /// Where the share was written.
    pub(super) origin: Origin,
}

impl AccountShare {
    /// Notes each limit of which the share leaves nothing. Limits of the same number are one problem: the catalogue has
    /// dozens of them.
    pub(super) fn check(&self, config: &Config, findings: &Findings) {
        let Self { account, share, daily_calls, origin } = self;
        let key = dotted(["accounts", account.as_str(), "share"]);
        if config.state.redis.is_some() {
            findings.wrong(
                origin,
                &key,
                "is for gateways without state.redis: with it, they share each limit as they need it",
            );
            return;
        }
        let own = [("token.requests", Some(config.token.requests)), ("daily_calls", *daily_calls)];
        let routes = config.throttled_routes_of(account);
        let routes = routes.map(|route| (route.id.as_str(), route.threshold.map(|threshold| threshold.requests)));
        let mut lost: BTreeMap<NonZeroU32, Vec<&str>> = BTreeMap::new();
        for (name, limit) in own.into_iter().chain(routes) {
            if let Some(limit) = limit.filter(|limit| share.leaves_nothing_of(*limit)) {
                lost.entry(limit).or_default().push(name);
            }
        }
        for (limit, names) in lost {
            let names = listed(&names);
            let message = format!("leaves nothing of a limit of {limit} ({names}); expected at least \"1/{limit}\"");
            findings.wrong(origin, &key, message);
        }
    }
}

/// The first names, and how many others there are.
fn listed(names: &[&str]) -> String {
    match names.split_at_checked(MOST_NAMES) {
        Some((first, [_, ..])) => format!("{} and {} more", first.join(", "), names.len() - MOST_NAMES),
        _ => names.join(", "),
    }
}
