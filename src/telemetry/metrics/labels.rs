//! The labels of the metrics.
//!
//! Their values come from the configuration, the catalogue and the states of this program, never from a request, so their
//! number is bounded.

use prometheus_client::encoding::EncodeLabelSet;

use crate::zoho::{account::AccountName, catalogue::RouteId};

/// The label value of everything beyond a bound.
const OTHER: &str = "other";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) account: String,
    pub(super) route: String,
    pub(super) status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RouteLabels {
    pub(super) account: String,
    pub(super) route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PayloadLabels {
    pub(super) route: String,
    pub(super) code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AccountLabels {
    pub(super) account: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallerLabels {
    pub(super) caller: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RefusalLabels {
    pub(super) problem: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallerRefusalLabels {
    pub(super) caller: String,
    pub(super) problem: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TokenLabels {
    pub(super) account: String,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct IssuerLabels {
    pub(super) issuer: String,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct JobLabels {
    pub(super) state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BuildLabels {
    pub(super) version: &'static str,
    pub(super) commit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct NoLabels {}

/// The label values that can occur, as far as the configuration tells.
#[derive(Debug)]
pub struct KnownLabels<'a> {
    /// The names of all problems.
    pub problems: &'a [&'static str],
    /// The names of the issuers of callers' tokens.
    pub issuers: Vec<String>,
    /// The accounts.
    pub accounts: Vec<AccountName>,
    /// The calls that each account may make.
    pub calls: Vec<(AccountName, RouteId)>,
}

impl RouteLabels {
    pub(super) fn new(account: &str, route: &str) -> Self {
        Self { account: account.to_owned(), route: route.to_owned() }
    }

    /// All routes beyond a bound.
    pub(super) fn other() -> Self {
        Self::new(OTHER, OTHER)
    }
}

impl PayloadLabels {
    /// All pairs beyond the bound.
    pub(super) fn others() -> Self {
        Self { route: OTHER.to_owned(), code: OTHER.to_owned() }
    }
}

impl CallerRefusalLabels {
    /// All callers beyond a bound.
    pub(super) fn other(problem: &'static str) -> Self {
        Self { caller: OTHER.to_owned(), problem }
    }
}
