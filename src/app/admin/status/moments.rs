//! Adds to each span of a page the moment that it names, so that people and programs read whichever they like.
//!
//! The name of a span says which moment it is: `in_seconds` and `next_slot_in_seconds` are `at` and `next_slot_at`,
//! `for_seconds` and `locked_for_seconds` are `until` and `locked_until`, `seconds_ago` and `granted_seconds_ago` are `at`
//! and `granted_at`. The moment of an unknown span is `null`.

use jiff::{SignedDuration, Timestamp, Unit};
use serde_json::{Map, Value};

use crate::os::clock;

/// Times that began in the past and go on.
const SINCE: [(&str, &str); 3] =
    [("waited_seconds", "waiting_since"), ("silent_seconds", "silent_since"), ("age_seconds", "since")];

/// Incidents keep the form that they have in the store.
const WITHOUT_MOMENTS: &str = "incidents";

/// Now, in milliseconds.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::try_from(clock::wall()).unwrap_or_default();
    now.round(Unit::Millisecond).unwrap_or(now)
}

/// Adds the moments to a page whose spans count from its `at`.
pub(in crate::app::admin) fn add(page: &mut Value) {
    let at = page["at"].as_str().and_then(|at| at.parse().ok());
    if let Some(at) = at {
        add_from(page, at);
    }
}

fn add_from(value: &mut Value, at: Timestamp) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| add_from(item, at)),
        Value::Object(members) => {
            members.iter_mut().filter(|(name, _)| *name != WITHOUT_MOMENTS).for_each(|(_, value)| add_from(value, at));
            let moments: Map<_, _> = members.iter().filter_map(|(name, span)| of_span(name, span, at)).collect();
            members.extend(moments);
        }
        _ => {}
    }
}

fn of_span(name: &str, span: &Value, at: Timestamp) -> Option<(String, Value)> {
    let with = |prefix: &str, end: &str| match prefix {
        "" => end.to_owned(),
        prefix => format!("{prefix}{end}"),
    };
    let since = SINCE.iter().find(|(span, _)| *span == name).map(|(_, moment)| (*moment).to_owned());
    let (name, sign) = if let Some(since) = since {
        (since, -1.0)
    } else if let Some(prefix) = name.strip_suffix("seconds_ago") {
        (with(prefix, "at"), -1.0)
    } else if let Some(prefix) = name.strip_suffix("in_seconds") {
        (with(prefix, "at"), 1.0)
    } else {
        (with(name.strip_suffix("for_seconds")?, "until"), 1.0)
    };
    let moment = span.as_f64().and_then(|seconds| moment(at, sign * seconds));
    Some((name, moment.map_or(Value::Null, |moment| moment.to_string().into())))
}

fn moment(at: Timestamp, seconds: f64) -> Option<Timestamp> {
    let span = SignedDuration::try_from_secs_f64(seconds).ok()?;
    at.checked_add(span).ok()?.round(Unit::Millisecond).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_span_has_its_moment() {
        let mut page = json!({
            "at": "2026-11-30T08:25:48Z",
            "locked_for_seconds": 252.0,
            "lock": { "ends_in_seconds": 252.0, "began_seconds_ago": 48.0 },
            "shared": [{ "for_seconds": 12, "silent_seconds": 3.5, "free_in_seconds": null }],
            "next_call": { "in_seconds": 0.25 },
            "refusals": [{ "seconds_ago": 1.0 }],
            "incidents": [{ "locked_for_seconds": 300.0 }],
            "window_seconds": 60.0,
            "far_in_seconds": 1e300,
        });
        add(&mut page);
        let expected = json!({
            "at": "2026-11-30T08:25:48Z",
            "locked_for_seconds": 252.0,
            "locked_until": "2026-11-30T08:30:00Z",
            "lock": {
                "ends_in_seconds": 252.0, "ends_at": "2026-11-30T08:30:00Z",
                "began_seconds_ago": 48.0, "began_at": "2026-11-30T08:25:00Z",
            },
            "shared": [{
                "for_seconds": 12, "until": "2026-11-30T08:26:00Z",
                "silent_seconds": 3.5, "silent_since": "2026-11-30T08:25:44.5Z",
                "free_in_seconds": null, "free_at": null,
            }],
            "next_call": { "in_seconds": 0.25, "at": "2026-11-30T08:25:48.25Z" },
            "refusals": [{ "seconds_ago": 1.0, "at": "2026-11-30T08:25:47Z" }],
            "incidents": [{ "locked_for_seconds": 300.0 }],
            "window_seconds": 60.0,
            "far_in_seconds": 1e300, "far_at": null,
        });
        assert_eq!(page, expected);
    }

    #[test]
    fn a_page_without_a_moment_stays_as_it_is() {
        for page in [json!({}), json!({ "at": "", "in_seconds": 1 }), json!([])] {
            let mut same = page.clone();
            add(&mut same);
            assert_eq!(same, page);
        }
    }
}
