//! How long a caller is willing to wait: `Prefer: wait=N` (RFC 7240 section 4.3).

use std::time::Duration;

use http::HeaderMap;

use crate::message::list::{Quotes, members};

/// The longest wait. The limit also keeps instants representable.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The caller's preference, or `max_wait`. A malformed preference is ignored, as RFC 7240 section 2 requires.
pub(super) fn preferred(headers: &HeaderMap, max_wait: Duration) -> Duration {
    wait(headers).unwrap_or(max_wait)
}

/// The wait that the caller prefers, if it says one.
#[must_use]
pub fn wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = members(headers, "prefer", Quotes::Strings).find_map(seconds)?;
    Some(Duration::from_secs(seconds).min(LONGEST))
}

/// N of one preference `wait=N` or `wait="N"`, without its parameters.
fn seconds(preference: &str) -> Option<u64> {
    let (name, value) = preference.split(';').next()?.split_once('=')?;
    let value = value.trim().trim_matches('"');
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    // A number that does not fit means a very long wait and is not malformed.
    (name.trim().eq_ignore_ascii_case("wait") && digits).then(|| value.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_wait_preference() {
        let max = Duration::from_secs(30);
        for (value, expected) in [
            ("wait=0", 0),
            ("wait=7", 7),
            ("respond-async, WAIT = 12; x=1", 12),
            ("wait=\"5\"", 5),
            ("wait=1, wait=2", 1),
            ("wait=99999999999999999999", 86_400),
            ("wait=-1", 30),
            ("wait=1.5", 30),
            ("wait=", 30),
            ("waiting=3", 30),
            ("return=minimal", 30),
            ("x=\"a, wait=0\"", 30),
            ("x=\"a, wait=0\", wait=7", 7),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", value.parse().unwrap());
            assert_eq!(preferred(&headers, max), Duration::from_secs(expected), "{value}");
        }
        assert_eq!(preferred(&HeaderMap::new(), max), max);
    }
}
