//! The permissions of a caller: the accounts it may use, and the calls it may make with them.
//!
//! Everything else is denied, so a caller without configured permissions may do nothing.

use crate::zoho::{
    account::AccountName,
    catalogue::{Route, RouteGlob, RouteId},
};

/// The permissions of one caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permissions {
    /// The accounts it may use; the first is the default.
    pub accounts: Vec<AccountName>,
    /// The calls it may make.
    pub allow: Vec<RouteGlob>,
    /// Whether it may make only calls that change nothing at Zoho.
    pub read_only: bool,
}

impl Permissions {
    /// Whether the caller may use this account.
    #[must_use]
    pub fn covers(&self, account: &AccountName) -> bool {
        self.accounts.contains(account)
    }

    /// Whether the caller may make this call.
    #[must_use]
    pub fn allows(&self, route: &RouteId) -> bool {
        self.allow.iter().any(|glob| glob.matches(route.as_str()))
    }

    /// Whether the caller may make some call of this route with this account.
    #[must_use]
    pub fn permit(&self, account: &AccountName, route: &Route) -> bool {
        self.covers(account) && self.allows(&route.id) && (!self.read_only || route.may_change_nothing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_permission_everything_is_denied() {
        let none = Permissions::default();
        assert!(!none.covers(&AccountName::new("main")) && !none.allows(&RouteId::new("people.lms.share-course")));
    }
}
