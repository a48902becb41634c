//! The calls that an operator means.

use std::fmt;

use super::Key;
use crate::zoho::catalogue::RouteGlob;

/// Selects calls: those to which everything applies that is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallSelector {
    /// The caller's name.
    pub caller: Option<String>,
    /// The account's name.
    pub account: Option<String>,
    /// The route.
    pub route: Option<RouteGlob>,
    /// The id of a single request.
    pub request_id: Option<String>,
}

impl CallSelector {
    /// Whether it selects calls of this account and route, by whomever.
    pub(super) fn covers(&self, key: &Key) -> bool {
        let account = self.account.as_ref().is_none_or(|account| *account == key.account);
        account && self.route.as_ref().is_none_or(|route| route.matches(&key.limit))
    }

    /// Whether it selects this call, if it [covers](Self::covers) its account and route.
    pub(super) fn selects(&self, caller: &str, request_id: &str) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.caller, caller) && is(&self.request_id, request_id)
    }
}

impl fmt::Display for CallSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = self.route.as_ref().map(ToString::to_string);
        let parts =
            [("caller", &self.caller), ("account", &self.account), ("route", &route), ("request", &self.request_id)];
        let parts = parts.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_given_applies() {
        let key = Key { account: "main".to_owned(), limit: "people.lms.share-course".to_owned() };
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        for (caller, account, route, request, expected) in [
            ("", "", "", "", true),
            ("payroll", "main", "people.*", "r1", true),
            ("payroll", "", "", "", true),
            ("portal", "", "", "", false),
            ("payroll", "other", "", "", false),
            ("", "", "calendar.*", "", false),
            ("", "", "people.lms.share-course", "r2", false),
        ] {
            let route = (!route.is_empty()).then(|| route.parse().unwrap());
            let selector =
                CallSelector { caller: text(caller), account: text(account), route, request_id: text(request) };
            assert_eq!(selector.covers(&key) && selector.selects("payroll", "r1"), expected, "{selector}");
        }
    }
}
