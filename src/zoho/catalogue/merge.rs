//! Which calls of a route may go to Zoho as one: those that differ in one list of record numbers only.

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::{Kind, Parameters, ScalarKind, Shape};

/// `merge = { parameter = "erecnosList", max = 50 }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// The parameter whose lists are put together.
    pub parameter: String,
    /// How many record numbers one call has at most.
    pub max: usize,
}

/// Why a route cannot merge calls in this way.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMergeable {
    /// `parameter` is wrong.
    #[error("{0}")]
    Parameter(String),
    /// `max` is wrong.
    #[error("{0}")]
    Max(String),
}

impl Merge {
    /// A list of one is not merged. Zoho documents no list of more than a thousand ids.
    pub const BOUNDS: RangeInclusive<u32> = 2..=1000;

    /// Checks it against the rules of the route's page. A route without rules takes any parameter: calls whose list is
    /// not an array of record numbers are not merged.
    ///
    /// # Errors
    /// The rules have no such list, or the list is shorter.
    pub fn check(&self, rules: &Parameters) -> Result<(), NotMergeable> {
        if !u32::try_from(self.max).is_ok_and(|max| Self::BOUNDS.contains(&max)) {
            let (least, most) = Self::BOUNDS.into_inner();
            return Err(NotMergeable::Max(format!("expected an integer from {least} to {most}")));
        }
        if !rules.are_documented() {
            return Ok(());
        }
        let lists: Vec<(&str, usize)> = rules
            .iter()
            .filter_map(|parameter| match &parameter.kind {
                Kind::Json(Shape::Array(array)) if holds_record_numbers(&array.items) => {
                    Some((parameter.name.as_str(), array.max))
                }
                _ => None,
            })
            .collect();
        match lists.iter().find(|(name, _)| *name == self.parameter) {
            None if lists.is_empty() => Err(NotMergeable::Parameter(
                "the call's page has no list of record numbers, so its calls cannot merge".into(),
            )),
            None => {
                let names: Vec<&str> = lists.iter().map(|(name, _)| *name).collect();
                Err(NotMergeable::Parameter(format!("expected a list of record numbers: {}", names.join(" or "))))
            }
            Some((_, most)) if self.max > *most => {
                Err(NotMergeable::Max(format!("the call's page allows at most {most} record numbers")))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Whether the page says so, or leaves it open.
fn holds_record_numbers(items: &Shape) -> bool {
    match items {
        Shape::Any => true,
        Shape::Scalar(scalar) => matches!(scalar.kind, ScalarKind::Digits { .. }),
        Shape::Array(_) | Shape::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoho::catalogue::Catalogue;

    fn checked(route: &str, parameter: &str, max: usize) -> Result<(), NotMergeable> {
        let catalogue = Catalogue::published().unwrap();
        let rules = &catalogue.find(route).unwrap().parameters;
        Merge { parameter: parameter.to_owned(), max }.check(rules)
    }

    #[test]
    fn only_a_documented_list_of_record_numbers_can_merge() {
        let share = "people.lms.share-course";
        assert_eq!(checked(share, "erecnosList", 50), Ok(()));
        assert!(
            matches!(checked(share, "erecnos", 50), Err(NotMergeable::Parameter(what)) if what.contains("erecnosList"))
        );
        assert!(matches!(checked(share, "erecnosList", 1), Err(NotMergeable::Max(_))));
        assert!(matches!(checked(share, "erecnosList", 1001), Err(NotMergeable::Max(_))));
        let one = checked("people.lms.remove-shared-user", "sharedUserErecno", 50);
        assert!(matches!(one, Err(NotMergeable::Parameter(_))), "it takes one number, not a list");
        assert_eq!(checked("people.v3-surveys.trigger-reminder", "any", 2), Ok(()), "a route without rules");
    }
}
