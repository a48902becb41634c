//! Patterns of route ids.

use std::{fmt, str::FromStr};

/// A pattern of route ids: `people.lms.*`, `calendar.*`, `*`. A star matches any characters, dots included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteGlob(String);

/// Text that cannot match any route's id.
#[derive(Debug, thiserror::Error)]
#[error("expected a route's id, in which * matches any characters, such as \"people.lms.*\"")]
pub struct NoRouteGlob;

impl RouteGlob {
    /// Whether it is one route's id, without a star.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether the pattern matches this id.
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        let mut parts = self.0.split('*');
        // The id must start with the text before the first star, end with the text after the last, and hold the parts
        // in between in order.
        let Some(rest) = parts.next().and_then(|first| id.strip_prefix(first)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        let Some(mut middle) = rest.strip_suffix(last) else { return false };
        for part in parts {
            let Some(at) = middle.find(part) else { return false };
            middle = &middle[at + part.len()..];
        }
        true
    }
}

impl fmt::Display for RouteGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RouteGlob {
    type Err = NoRouteGlob;

    fn from_str(text: &str) -> Result<Self, NoRouteGlob> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'*');
        if text.is_empty() || !text.bytes().all(fits) {
            return Err(NoRouteGlob);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_any_characters() {
        for (glob, id, expected) in [
            ("people.lms.share-course", "people.lms.share-course", true),
            ("people.lms.share-course", "people.lms.share-courses", false),
            ("people.lms.*", "people.lms.share-course", true),
            ("people.lms.*", "people.lmsx.share-course", false),
            ("people.*", "people.lms.share-course", true),
            ("*", "calendar.events.get-event", true),
            ("*.get-*", "people.lms.get-shared-users", true),
            ("*.get-*", "people.lms.forget-users", false),
            ("people.*.get-*", "people.lms.get-shared-users", true),
            ("people.*.get-*", "calendar.lms.get-shared-users", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ] {
            assert_eq!(glob.parse::<RouteGlob>().unwrap().matches(id), expected, "{glob} {id}");
        }
        for text in ["", "People.*", "people lms", "people/*"] {
            assert!(text.parse::<RouteGlob>().is_err(), "{text}");
        }
    }
}
