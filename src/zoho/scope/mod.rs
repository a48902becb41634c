//! OAuth scopes: `SERVICE.section.OPERATION`.
//!
//! Their spelling varies from page to page, so comparisons ignore case. `SERVICE.section.ALL` includes every other
//! scope of its section.

mod needed;

pub use needed::{Missing, missing, needed};

/// Whether a login with `scope` may do what `wanted` permits.
fn covers(scope: &str, wanted: &str) -> bool {
    let same_section = || match (scope.rsplit_once('.'), wanted.rsplit_once('.')) {
        (Some((of_scope, _)), Some((of_wanted, _))) => of_scope.eq_ignore_ascii_case(of_wanted),
        _ => false,
    };
    scope.eq_ignore_ascii_case(wanted) || (is_all(scope) && same_section())
}

/// Whether a scope includes its whole section.
fn is_all(scope: &str) -> bool {
    scope.rsplit_once('.').is_some_and(|(_, operation)| operation.eq_ignore_ascii_case("ALL"))
}

/// How many scopes a message names.
const MOST_SHOWN: usize = 24;

/// The scopes that a login was granted, as Zoho's answer lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Box<[Box<str>]>);

impl Scopes {
    /// Reads scopes that spaces or commas separate.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split([' ', ',']).filter(|scope| !scope.is_empty()).map(Box::from).collect())
    }

    /// Whether they suffice for a call that needs any one of `wanted`. A call whose page names no scope needs none.
    #[must_use]
    pub fn suffice(&self, wanted: &[String]) -> bool {
        wanted.is_empty() || self.0.iter().any(|scope| wanted.iter().any(|wanted| covers(scope, wanted)))
    }
}

impl std::fmt::Display for Scopes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (shown, rest) = self.0.split_at(self.0.len().min(MOST_SHOWN));
        f.write_str(&shown.join(" "))?;
        if rest.is_empty() { Ok(()) } else { write!(f, " and {} more", rest.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_one_suffices_whatever_its_case() {
        let wanted = ["ZOHOPEOPLE.training.ALL".to_owned(), "ZOHOPEOPLE.training.READ".to_owned()];
        for (granted, expected) in [
            ("ZOHOPEOPLE.training.READ", true),
            ("zohopeople.Training.all", true),
            ("ZOHOPEOPLE.forms.ALL ZohoPeople.training.Read", true),
            ("ZOHOPEOPLE.forms.ALL,ZOHOPEOPLE.training.READ", true),
            ("ZOHOPEOPLE.training.CREATE", false),
            ("ZOHOPEOPLE.trainings.ALL", false),
            ("ZOHOPEOPLE.training", false),
            ("ALL", false),
            ("", false),
        ] {
            assert_eq!(Scopes::parse(granted).suffice(&wanted), expected, "{granted}");
        }
    }

    #[test]
    fn a_long_list_is_shown_in_part() {
        let text = |scopes: usize| Scopes::parse(&"P.a.ALL ".repeat(scopes)).to_string();
        assert_eq!(text(MOST_SHOWN), ["P.a.ALL"; MOST_SHOWN].join(" "));
        assert_eq!(text(MOST_SHOWN + 7), ["P.a.ALL"; MOST_SHOWN].join(" ") + " and 7 more");
    }

    #[test]
    fn all_covers_its_section_and_no_scope_is_enough_for_none() {
        let wanted = ["P.a.UPDATE".to_owned()];
        assert!(Scopes::parse("p.A.aLL").suffice(&wanted));
        assert!(!Scopes::parse("P.b.ALL").suffice(&wanted));
        assert!(Scopes::parse("").suffice(&[]));
    }
}
