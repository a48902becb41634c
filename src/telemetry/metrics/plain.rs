//! The Prometheus text format (version 0.0.4), derived from OpenMetrics.
//!
//! In OpenMetrics a counter's family is `x` and its sample `x_total`; in the text format both have the sample's name,
//! or readers take the counter for a metric without a type. The text format also has neither units nor an end mark, and
//! only four types.

/// The same page in the text format.
pub(super) fn plain(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    // HELP comes before TYPE, and the name in HELP depends on TYPE.
    let mut help = None;
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(family), words) => help = Some((family, words.unwrap_or_default())),
            (Some("#"), Some("TYPE"), Some(family), Some(kind)) => {
                let (end, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "gauge" | "histogram" | "summary" => ("", kind),
                    _ => ("", "untyped"),
                };
                if let Some((_, words)) = help.take().filter(|(named, _)| *named == family) {
                    text.push_str(&format!("# HELP {family}{end} {words}\n"));
                }
                text.push_str(&format!("# TYPE {family}{end} {kind}\n"));
            }
            (Some("#"), ..) => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_like_their_samples() {
        let openmetrics = "# HELP a Some counts.\n# TYPE a counter\na_total{b=\"c d\"} 1\na_total{b=\"# e\"} 2\n\
                           # HELP s Some seconds.\n# TYPE s_seconds histogram\n# UNIT s_seconds seconds\n\
                           # HELP h_seconds Some seconds.\n# TYPE h_seconds histogram\n# UNIT h_seconds seconds\n\
                           h_seconds_sum 0.5\nh_seconds_count 1\nh_seconds_bucket{le=\"+Inf\"} 1\n\
                           # HELP i Some facts.\n# TYPE i info\ni_info{version=\"1\"} 1\n\
                           # TYPE u unknown\nu 3\n# TYPE g gauge\ng 4\n# EOF\n";
        let text = "# HELP a_total Some counts.\n# TYPE a_total counter\na_total{b=\"c d\"} 1\na_total{b=\"# e\"} 2\n\
                    # TYPE s_seconds histogram\n\
                    # HELP h_seconds Some seconds.\n# TYPE h_seconds histogram\n\
                    h_seconds_sum 0.5\nh_seconds_count 1\nh_seconds_bucket{le=\"+Inf\"} 1\n\
                    # HELP i_info Some facts.\n# TYPE i_info gauge\ni_info{version=\"1\"} 1\n\
                    # TYPE u untyped\nu 3\n# TYPE g gauge\ng 4\n";
        assert_eq!(plain(openmetrics), text);
        assert_eq!(plain("# EOF\n"), "");
    }
}
