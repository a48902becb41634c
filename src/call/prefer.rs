//! How long a caller is willing to wait: `Prefer: wait=N` (RFC 7240 section 4.3).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::message::list::{Quotes, members};

/// Says which preferences were honoured (RFC 7240 section 3).
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long calls wait for a slot.
#[derive(Debug, Clone, Copy)]
pub struct WaitLimits {
    /// Of callers without a preference.
    pub usual: Duration,
    /// The longest wait that a caller may prefer.
    pub preferred: Duration,
}

/// The wait that the caller prefers, if it says so. A malformed preference is ignored, as RFC 7240 section 2 requires.
#[must_use]
pub fn wait(headers: &HeaderMap, longest: Duration) -> Option<Duration> {
    let seconds = members(headers, "prefer", Quotes::Strings).find_map(seconds)?;
    Some(Duration::from_secs(seconds).min(longest))
}

/// Says which wait applies, after what applies already (`Preference-Applied`, RFC 7240 section 3).
pub fn write_applied(headers: &mut HeaderMap, wait: Duration) {
    let before = headers.get(PREFERENCE_APPLIED).and_then(|value| value.to_str().ok());
    let applied: Vec<_> = before.map(str::to_owned).into_iter().chain([format!("wait={}", wait.as_secs())]).collect();
    if let Ok(value) = HeaderValue::from_str(&applied.join(", ")) {
        headers.insert(PREFERENCE_APPLIED, value);
    }
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
        for (value, expected) in [
            ("wait=0", Some(0)),
            ("wait=7", Some(7)),
            ("respond-async, WAIT = 12; x=1", Some(12)),
            ("wait=\"5\"", Some(5)),
            ("wait=1, wait=2", Some(1)),
            ("wait=3601", Some(3600)),
            ("wait=99999999999999999999", Some(3600)),
            ("wait=-1", None),
            ("wait=1.5", None),
            ("wait=", None),
            ("waiting=3", None),
            ("return=minimal", None),
            ("x=\"a, wait=0\"", None),
            ("x=\"a, wait=0\", wait=7", Some(7)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", value.parse().unwrap());
            let preferred = wait(&headers, Duration::from_secs(3600));
            assert_eq!(preferred, expected.map(Duration::from_secs), "{value}");
        }
        assert_eq!(wait(&HeaderMap::new(), Duration::MAX), None);
    }
}
