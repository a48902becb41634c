//! The part of an answer that belongs to one caller.
//!
//! An entry of a list belongs to the record number that it is, or else to the first of its members with the value of a
//! number of the merged call, as `{"erecno": "588882000000212025", ...}` does. A member of an object belongs to the number
//! that is its name, as in `"errors": {"588882000000212025": ...}`. Everything else belongs to all callers. What stays is
//! written as Zoho wrote it.

use std::collections::HashSet;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Lists and objects below this depth are not divided: Zoho's answers have four levels.
const MAX_DEPTH: usize = 16;

/// The numbers of a merged call, and those of one caller among them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers<'n> {
    pub(super) all: &'n HashSet<&'n str>,
    pub(super) own: &'n HashSet<&'n str>,
}

/// The caller's part of a body; `None` if the body is not JSON.
pub(super) fn part(body: &[u8], numbers: Numbers<'_>) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let value: &RawValue = serde_json::from_str(text).ok()?;
    let mut part = String::with_capacity(text.len().min(1024));
    numbers.write(value, 0, &mut part)?;
    Some(part)
}

impl Numbers<'_> {
    fn write(&self, value: &RawValue, depth: usize, part: &mut String) -> Option<()> {
        let text = value.get();
        match text.as_bytes().first()? {
            b'[' if depth < MAX_DEPTH => {
                let entries: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                let kept = entries.into_iter().filter(|entry| !self.are_of_another(number_of_entry(entry, self.all)));
                part.push('[');
                for (index, entry) in kept.enumerate() {
                    part.push_str(if index == 0 { "" } else { "," });
                    self.write(entry, depth + 1, part)?;
                }
                part.push(']');
            }
            b'{' if depth < MAX_DEPTH => {
                let Members(members) = serde_json::from_str(text).ok()?;
                let kept = members.into_iter().filter(|(name, _)| !self.are_of_another(Some(name.clone())));
                part.push('{');
                for (index, (name, value)) in kept.enumerate() {
                    part.push_str(if index == 0 { "" } else { "," });
                    part.push_str(&serde_json::to_string(&name).ok()?);
                    part.push(':');
                    self.write(value, depth + 1, part)?;
                }
                part.push('}');
            }
            _ => part.push_str(text),
        }
        Some(())
    }

    /// Whether a name or value is a number of other callers only.
    fn are_of_another(&self, number: Option<String>) -> bool {
        number.is_some_and(|number| self.all.contains(&*number) && !self.own.contains(&*number))
    }
}

/// The number that an entry of a list is about.
fn number_of_entry(entry: &RawValue, all: &HashSet<&str>) -> Option<String> {
    let known = |value: &RawValue| scalar(value).filter(|text| all.contains(&**text));
    match serde_json::from_str::<Members<'_>>(entry.get()) {
        Ok(Members(members)) => members.into_iter().find_map(|(_, value)| known(value)),
        Err(_) => known(entry),
    }
}

/// The text of a string, or a number's digits.
fn scalar(value: &RawValue) -> Option<String> {
    match value.get().as_bytes().first()? {
        b'"' => serde_json::from_str(value.get()).ok(),
        b'0'..=b'9' => Some(value.get().to_owned()),
        _ => None,
    }
}

/// The members of an object in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str, all: &[&str], own: &[&str]) -> Option<String> {
        let (all, own) = (all.iter().copied().collect(), own.iter().copied().collect());
        part(body.as_bytes(), Numbers { all: &all, own: &own })
    }

    #[test]
    fn each_caller_gets_its_entries_in_zohos_shape() {
        let body = r#"{"sharedUsers":[ {"erecno":"1","employeeId":"2"},{"erecno":2,"x":1.50},{"erecno":"9"} ],"code":"200","message":"success"}"#;
        for (own, users) in [
            (&["1"][..], r#"{"erecno":"1","employeeId":"2"},{"erecno":"9"}"#),
            (&["2"], r#"{"erecno":2,"x":1.50},{"erecno":"9"}"#),
            (&["1", "2"], r#"{"erecno":"1","employeeId":"2"},{"erecno":2,"x":1.50},{"erecno":"9"}"#),
            (&["3"], r#"{"erecno":"9"}"#),
        ] {
            let expected = format!(r#"{{"sharedUsers":[{users}],"code":"200","message":"success"}}"#);
            assert_eq!(of(body, &["1", "2", "3"], own), Some(expected), "{own:?}");
        }
    }

    #[test]
    fn a_partial_failure_goes_to_the_caller_whose_number_failed() {
        let body = r#"{"response":{"result":[1,"2"],"errors":{"2":"gone","7":"x"},"status":2}}"#;
        let expected = [
            (&["1"][..], r#"{"response":{"result":[1],"errors":{"7":"x"},"status":2}}"#),
            (&["2"], r#"{"response":{"result":["2"],"errors":{"2":"gone","7":"x"},"status":2}}"#),
        ];
        for (own, part) in expected {
            assert_eq!(of(body, &["1", "2"], own).as_deref(), Some(part));
        }
    }

    #[test]
    fn what_is_not_json_is_not_divided() {
        for body in ["", "<html>", "{\"a\":", "\u{feff}{}"] {
            assert_eq!(of(body, &["1"], &["1"]), None, "{body}");
        }
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        assert_eq!(of(&deep, &["1", "2"], &["2"]).as_deref(), Some(&*deep));
    }
}
