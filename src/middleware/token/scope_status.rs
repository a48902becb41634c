//! What is known of the scopes of an account's login.

use std::collections::BTreeMap;

use crate::{
    problem::{Cause, ScopeEvidence, respond},
    zoho::{
        catalogue::{Route, RouteId},
        scope::Scopes,
    },
};

/// The number of routes without a scope that one health report names.
const MOST_NAMED: usize = 10;

/// The granted scopes, and the routes whose scope the login lacks.
#[derive(Debug, Default)]
pub(super) struct ScopeStatus {
    /// The scopes of the newest token; `None` before the first token, and if Zoho does not name them.
    granted: Option<Scopes>,
    lacking: BTreeMap<RouteId, Cause>,
}

impl ScopeStatus {
    /// A new token has these scopes. Keeps a missing scope only if Zoho reported it or the new scopes lack it too.
    pub(super) fn granted(&mut self, granted: Option<Scopes>) {
        if let Some(granted) = &granted {
            self.lacking.retain(|_, cause| match cause {
                Cause::ScopeMissing { scopes, evidence: ScopeEvidence::Granted(_) } => !granted.suffice(scopes),
                _ => true,
            });
        }
        self.granted = granted;
    }

    /// Whether the granted scopes, as far as they are known, allow a call of this route.
    pub(super) fn check(&self, route: &Route) -> Result<(), Cause> {
        match &self.granted {
            Some(granted) if !granted.suffice(&route.scopes) => {
                let evidence = ScopeEvidence::Granted(granted.clone());
                Err(Cause::ScopeMissing { scopes: route.scopes.clone(), evidence })
            }
            _ => Ok(()),
        }
    }

    /// The login lacks the scope of this route. Returns whether that is news.
    pub(super) fn lacks(&mut self, route: &RouteId, cause: &Cause) -> bool {
        self.lacking.insert(route.clone(), cause.clone()).is_none()
    }

    /// The login has the scope of this route.
    pub(super) fn has(&mut self, route: &RouteId) {
        if !self.lacking.is_empty() {
            self.lacking.remove(route);
        }
    }

    /// The missing scopes, for the health report.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let named = self.lacking.iter().map(|(route, cause)| format!("{route}: {}", in_words(cause)));
        let more = self.lacking.len().saturating_sub(MOST_NAMED);
        named.take(MOST_NAMED).chain((more > 0).then(|| format!("scope-missing: and {more} routes more")))
    }
}

/// A problem's name and its text for operators.
pub(super) fn in_words(cause: &Cause) -> String {
    format!("{}: {}", respond::name(cause), respond::for_operators(cause))
}
