//! `report`: what Zoho's answers suggest about the catalogue, as text that a person may share.

use std::fmt::Write;

use super::{Failure, RunningGateway, admin::AdminListener, print};
use crate::telemetry::{ObservedLimit, Report};

/// A payload that Zoho rejected less often may be one mistake.
const WORTH_A_RULE: u64 = 3;

pub(super) async fn report(gateway: &RunningGateway, json: bool) -> Result<(), Failure> {
    let listener = AdminListener::find(gateway)?;
    let (status, body) = listener.page("/report").await?;
    if !status.is_success() {
        return Err(Failure::Run(format!("the admin listener answers {status}: {body}")));
    }
    let parsed = serde_json::from_str::<Report>(&body);
    let report = parsed.map_err(|error| Failure::Run(format!("/report is not what this version expects: {error}")))?;
    Ok(print(&if json { body } else { in_words(&report) })?)
}

fn in_words(report: &Report) -> String {
    let Report { since, version, payloads, limits } = report;
    let mut text = format!(
        "What Zoho's answers since {since} suggest, seen by zoho-gateway {version}.\n\
         It has no payload, no account and no caller in it, and was sent nowhere.\n"
    );
    text.push_str("\nPayloads that Zoho rejected although the rules accepted them:\n");
    if payloads.is_empty() {
        text.push_str("  none\n");
    }
    for rejected in payloads {
        let times = if rejected.times == 1 { "once".to_owned() } else { format!("{} times", rejected.times) };
        let worth = if rejected.times >= WORTH_A_RULE { "; worth a rule" } else { "" };
        writeln!(text, "  {}: {} {times}, last {}{worth}", rejected.route, rejected.code, rejected.last)
            .expect("writing to a String");
    }
    text.push_str("\nLimits that were used up, or that Zoho enforced:\n");
    if limits.is_empty() {
        text.push_str("  none\n");
    }
    for limit in limits {
        writeln!(text, "  {}", limit_in_words(limit)).expect("writing to a String");
    }
    text
}

fn limit_in_words(limit: &ObservedLimit) -> String {
    let ObservedLimit { route, requests, window_seconds, is_published, most_answered, .. } = limit;
    let source = if *is_published { "the catalogue" } else { "the configuration" };
    let believed = format!("{route}: {requests} per {window_seconds} s by {source}");
    let answered = format!("up to {most_answered} were answered in one window");
    match (limit.locks, limit.fewest_before_lock) {
        (0, _) => format!("{believed}; {answered}, in {} without a lock{}", windows(limit.full_windows), beyond(limit)),
        (locks, Some(fewest)) if fewest < *requests => {
            let times = if locks == 1 { "once".to_owned() } else { format!("{locks} times") };
            format!(
                "{believed}; {answered}; locked {times}, with as few as {fewest} calls of our own in the window: another \
                 program uses the login, or Zoho allows fewer than {fewest}"
            )
        }
        (locks, _) => format!(
            "{believed}; {answered}; locked {locks} times with all of them used: another program uses the login, or Zoho \
             counts in another way"
        ),
    }
}

fn windows(number: u32) -> String {
    if number == 1 { "1 full window".to_owned() } else { format!("{number} full windows") }
}

/// What the absence of locks says about other readings of the page.
fn beyond(limit: &ObservedLimit) -> String {
    let mut text = String::new();
    if limit.most_answered_in_5m > limit.requests {
        let most = limit.most_answered_in_5m;
        write!(text, "; {most} within five minutes: the limit is not one of five minutes")
            .expect("writing to a String");
    }
    if !limit.is_published {
        text.push_str("; the catalogue has another number, and Zoho accepts this one");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::RejectedPayloads;

    fn limit(locks: u32, fewest_before_lock: Option<u32>) -> ObservedLimit {
        ObservedLimit {
            route: "people.lms.share-course".to_owned(),
            requests: 30,
            window_seconds: 60.0,
            is_published: true,
            most_answered: 30,
            most_answered_in_5m: 150,
            full_windows: 5,
            locks,
            fewest_before_lock,
        }
    }

    #[test]
    fn says_what_the_numbers_suggest() {
        let words = limit_in_words(&limit(0, None));
        assert!(
            words.contains("30 per 60 s by the catalogue; up to 30 were answered in one window, in 5 full windows")
        );
        assert!(words.ends_with("150 within five minutes: the limit is not one of five minutes"), "{words}");
        let words = limit_in_words(&limit(2, Some(12)));
        assert!(words.ends_with("or Zoho allows fewer than 12"), "{words}");
        assert!(limit_in_words(&limit(2, Some(30))).ends_with("or Zoho counts in another way"));
        let words = limit_in_words(&ObservedLimit { is_published: false, ..limit(0, None) });
        assert!(words.ends_with("and Zoho accepts this one"), "{words}");
    }

    #[test]
    fn a_frequent_rejection_is_worth_a_rule() {
        let rejected = |times| RejectedPayloads {
            route: "people.leave.add-leave".to_owned(),
            code: "7052".to_owned(),
            times,
            last: "2026-12-01T10:00:00Z".to_owned(),
        };
        let report = Report {
            since: "2026-12-01T09:00:00Z".to_owned(),
            version: "1".to_owned(),
            payloads: vec![rejected(3), rejected(1)],
            limits: Vec::new(),
        };
        let text = in_words(&report);
        assert!(text.contains("  people.leave.add-leave: 7052 3 times, last 2026-12-01T10:00:00Z; worth a rule\n"));
        assert!(text.contains("7052 once, last 2026-12-01T10:00:00Z\n"), "{text}");
        assert!(text.ends_with("enforced:\n  none\n"), "{text}");
    }
}
