//! The form of the metrics that a request prefers (RFC 9110, 12.4.2 and 12.5.1).

use http::{HeaderMap, header};

use crate::message::list::{Quotes, members};

/// Whether OpenMetrics is preferred to plain text. If both are equal, it is preferred when it is named.
pub(super) fn wants_openmetrics(headers: &HeaderMap) -> bool {
    let ranges: Vec<(String, f32)> = members(headers, header::ACCEPT, Quotes::Strings).map(range).collect();
    let (openmetrics, named) = quality(&ranges, ["application/openmetrics-text", "application/*", "*/*"]);
    let (plain, _) = quality(&ranges, ["text/plain", "text/*", "*/*"]);
    openmetrics > plain || (named && openmetrics > 0.0 && openmetrics >= plain)
}

/// A media range in lower case, and its quality.
fn range(element: &str) -> (String, f32) {
    let mut parts = element.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let quality = parts.filter_map(|parameter| parameter.split_once('=')).find_map(|(name, value)| {
        let value = value.trim().parse::<f32>().ok().filter(|value| (0.0..=1.0).contains(value));
        name.trim().eq_ignore_ascii_case("q").then_some(value.unwrap_or(1.0))
    });
    (name, quality.unwrap_or(1.0))
}

/// The quality of a type, from the narrowest range that matches, and whether that range names the type.
fn quality(ranges: &[(String, f32)], from_narrow_to_wide: [&str; 3]) -> (f32, bool) {
    for (position, wanted) in from_narrow_to_wide.into_iter().enumerate() {
        let found = ranges.iter().filter(|(name, _)| name == wanted).map(|(_, quality)| *quality);
        // A type may be listed with several versions.
        if let Some(quality) = found.reduce(f32::max) {
            return (quality, position == 0);
        }
    }
    (0.0, false)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn wants(lines: &[&'static str]) -> bool {
        let values = lines.iter().map(|line| (header::ACCEPT, HeaderValue::from_static(line)));
        wants_openmetrics(&values.collect())
    }

    #[test]
    fn the_form_with_the_higher_quality_is_chosen() {
        for accept in [
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; version=1.0.0",
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            "text/plain;q=0.2, application/openmetrics-text;Q=0.7",
            "text/plain, application/openmetrics-text",
            "text/plain;q=0, */*",
            "application/*, text/plain;q=0.5",
        ] {
            assert!(wants(&[accept]), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.000, */*",
            "APPLICATION/OPENMETRICS-TEXT; q=0, text/plain",
            "application/openmetrics-text;q=0.3, TEXT/PLAIN;q=0.6",
            "application/openmetrics-text;q=0.3, text/*;q=0.6",
            "application/openmetrics-text;q=0.1, */*",
            "application/openmetrics-text-other",
            "text/html, */*;q=0.8",
        ] {
            assert!(!wants(&[accept]), "{accept}");
        }
        assert!(wants(&["text/plain;q=0.1", "application/openmetrics-text"]));
        assert!(!wants(&[]));
    }
}
