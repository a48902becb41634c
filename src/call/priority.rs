//! The urgency of a call among its caller's calls: `Priority: u=N` (RFC 9218).

use http::HeaderMap;

use crate::{
    ledger::Urgency,
    message::list::{Quotes, members},
};

/// The caller's urgency, or 3. The field is a dictionary (RFC 9651 section 3.2), so the last one of several counts.
/// Invalid members are ignored one by one, which is more generous than RFC 9218 section 4.1.
pub(super) fn urgency(headers: &HeaderMap) -> Urgency {
    members(headers, "priority", Quotes::Strings).filter_map(urgency_of).last().unwrap_or_default()
}

/// N of one member `u=N`, without its parameters.
fn urgency_of(member: &str) -> Option<Urgency> {
    let value = member.split(';').next()?.trim().strip_prefix("u=")?;
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().ok())?.and_then(Urgency::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_urgency() {
        for (value, expected) in [
            ("u=0", 0),
            ("u=7", 7),
            ("i, u=5", 5),
            ("u=1;x=2, i=?0", 1),
            ("u=1, u=6", 6),
            ("u=8", 3),
            ("u=-1", 3),
            ("u=2.5", 3),
            ("u=", 3),
            ("urgency=1", 3),
            ("U=1", 3),
            ("x=\"a, u=0\"", 3),
            ("U=1, u=6, x=", 6),
            ("", 3),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("priority", value.parse().unwrap());
            assert_eq!(Some(urgency(&headers)), Urgency::new(expected), "{value}");
        }
        assert_eq!(urgency(&HeaderMap::new()), Urgency::default());
    }
}
