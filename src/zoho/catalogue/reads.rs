//! Which calls change nothing at Zoho.
//!
//! The method alone does not decide: older pages of People name the action in the path and accept GET too, so `GET
//! .../insertRecord` writes. A call is a read only where the catalogue marks its route as one *and* its method is safe
//! (RFC 9110 section 9.2.1). Any other call counts as a write.

use http::Method;

use super::{Route, RouteId};

/// The verbs of ids that only read. `check` is not in the list, because `check-in` writes, nor is `suggest`, because
/// Zoho notifies the person to whom a course is suggested.
const VERBS: [&str; 7] = ["count", "download", "get", "list", "preview", "search", "view"];

impl Route {
    /// Whether a request of this method changes nothing at Zoho.
    #[must_use]
    pub fn changes_nothing(&self, method: &Method) -> bool {
        // A method other than GET that a read route lists is a query with a body; its author marked it with `reads`.
        self.reads && (is_safe(method) || self.methods.contains(method))
    }

    /// Whether any request of the route changes nothing at Zoho.
    #[must_use]
    pub fn may_change_nothing(&self) -> bool {
        self.methods.iter().any(|method| self.changes_nothing(method)) || (self.methods.is_empty() && self.reads)
    }

    /// Whether the id's verb says that the call only reads, and its methods do not contradict.
    #[must_use]
    pub fn reads_by_its_name(id: &RouteId, methods: &[Method]) -> bool {
        let name = id.as_str().rsplit('.').next().unwrap_or_default();
        let verb = name.split('-').next().unwrap_or_default();
        VERBS.contains(&verb) && methods.iter().all(is_safe)
    }
}

/// The safe methods that are forwarded.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::zoho::catalogue::Catalogue;

    fn verb(route: &Route) -> &str {
        route.id.as_str().rsplit('.').next().unwrap().split('-').next().unwrap()
    }

    fn reads(route: &Route, method: Method) -> bool {
        route.changes_nothing(&method)
    }

    /// Every verb is in one of the two lists, so that each new verb needs a decision.
    #[test]
    fn every_row_reads_or_writes_by_its_verb() {
        let writes: BTreeSet<&str> =
            "add apply approve attach book cancel change check complete create customize delete disable \
                 edit enable enroll favourite import insert invoke map mark modify move patch publish punch \
                 remove reopen replace run share suggest switch tag trigger unenroll unfavourite unpublish \
                 update upgrade upload"
                .split_whitespace()
                .collect();
        let catalogue = Catalogue::published().unwrap();
        let mut seen = BTreeMap::<&str, usize>::new();
        for route in &catalogue.routes {
            assert_eq!(route.reads, !writes.contains(verb(route)), "{}", route.id);
            *seen.entry(verb(route)).or_default() += 1;
        }
        let expected = writes.into_iter().chain(VERBS).collect::<BTreeSet<_>>();
        assert_eq!(seen.keys().copied().collect::<BTreeSet<_>>(), expected);
        assert_eq!(VERBS.map(|verb| seen[verb]), [1, 5, 238, 2, 1, 1, 2]);
    }

    /// Reads by POST that Zoho documents, by id: none so far.
    const READS_BY_ANOTHER_METHOD: [&str; 0] = [];

    #[test]
    fn calls_documented_only_with_writing_methods_are_not_reads() {
        for route in Catalogue::published().unwrap().routes {
            let writing = !route.methods.is_empty() && !route.methods.contains(&Method::GET);
            let named = READS_BY_ANOTHER_METHOD.contains(&route.id.as_str());
            assert!(!writing || named || !route.reads, "{}", route.id);
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert!(named || !reads(&route, method), "{}", route.id);
            }
        }
    }

    /// An action at the end of an older page's path could be taken for a parameter, and its GET for a read.
    #[test]
    fn reads_by_any_method_end_in_a_word() {
        for route in Catalogue::published().unwrap().routes {
            let open = route.reads && route.methods.is_empty();
            assert!(!open || route.templates().all(|path| !path.ends_with('}')), "{}", route.id);
        }
    }

    #[test]
    fn default_routes_never_read() {
        let catalogue = Catalogue::published().unwrap();
        assert!(catalogue.default_routes.iter().all(|other| !other.reads && !reads(other, Method::GET)));
    }

    #[test]
    fn route_and_method_must_both_be_reads() {
        let catalogue = Catalogue::published().unwrap();
        let old = catalogue.find("people.forms.get-records").unwrap();
        assert!(reads(old, Method::GET) && reads(old, Method::HEAD) && !reads(old, Method::POST));
        let insert = catalogue.find("people.forms.insert-record").unwrap();
        assert!(insert.methods.is_empty() && !reads(insert, Method::GET) && !reads(insert, Method::POST));
        assert!(old.may_change_nothing() && !insert.may_change_nothing());
        let query = Route { methods: vec![Method::POST], reads: true, ..old.clone() };
        assert!(query.may_change_nothing());
        assert!(reads(&query, Method::POST) && !reads(&query, Method::PUT));
    }
}
