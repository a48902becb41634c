//! A share that leaves nothing of a limit.

use super::*;

/// An account with this share, whose callers may use two routes.
fn with_share(share: &str) -> String {
    format!(
        "{ACCOUNT}daily_calls = 8\nshare = \"{share}\"\n{}",
        r#"
[token]
requests = 4
[callers.payroll]
key_sha256 = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"
accounts = ["main"]
allow = ["people.lms.get-shared-users", "people.forms.merge-records", "calendar.other.any-call"]
[routes."people.lms.share-course"]
requests = 1
[routes."calendar.other.any-call"]
requests = 3
[[extra_routes]]
id = "people.forms.merge-records"
path = "/people/api/forms/{formLinkName}/mergeRecords"
requests = 2
"#
    )
}

fn fault(limit: u32, names: &str) -> String {
    format!(
        "gateway.toml:7:9: accounts.main.share: leaves nothing of a limit of {limit} ({names}); expected at least \"1/{limit}\""
    )
}

/// Calls that nobody may make have no limit in force.
#[test]
fn every_limit_of_which_nothing_is_left_is_told() {
    let told = |share: &str| lines(&bad(&with_share(share), &[]));
    assert_eq!(told("1/3"), [fault(2, "people.forms.merge-records")]);
    let all = [
        fault(2, "people.forms.merge-records"),
        fault(3, "calendar.other.any-call"),
        fault(30, "people.lms.get-shared-users"),
        fault(4, "token.requests"),
        fault(8, "daily_calls"),
    ];
    assert_eq!(told("1/31"), all);
    assert!(parse("gateway.toml", &with_share("1/2"), []).is_ok());
}

/// A line for each route would hide the other mistakes.
#[test]
fn limits_of_the_same_number_are_told_together() {
    let errors = lines(&bad(&format!("{ACCOUNT}share = \"1/21\"\n"), &[]));
    let [tens, _fifteen, twenties] = errors.as_slice() else { panic!("{errors:?}") };
    assert!(tens.contains("leaves nothing of a limit of 10 (token.requests, people."), "{tens}");
    let names = twenties.split_once("a limit of 20 (").and_then(|(_, names)| names.split_once(" and "));
    let (named, more) = names.unwrap_or_else(|| panic!("{twenties}"));
    assert_eq!(named.split(", ").count(), 10, "{twenties}");
    assert!(more.ends_with(" more); expected at least \"1/20\""), "{twenties}");
}

#[test]
fn it_is_told_together_with_other_mistakes() {
    let text = with_share("1/3").replace("client_secret = \"c11e27\"\n", "");
    assert_eq!(lines(&bad(&text, &[])).len(), 2, "the missing secret and the share");
}

#[test]
fn a_default_route_counts_only_if_it_is_in_use() {
    let text = |unknown: &str| {
        format!(
            "{ACCOUNT}share = \"1/9\"\n[routing]\nunknown = \"{unknown}\"\n[routes.\"people.other.any-call\"]\nrequests = 8\n"
        )
    };
    assert_eq!(lines(&bad(&text("limit"), &[])).len(), 1);
    assert!(parse("gateway.toml", &text("deny"), []).is_ok());
}

#[test]
fn a_variable_may_set_it() {
    let variable = |share| [("ZOHO_GATEWAY__ACCOUNTS__MAIN__SHARE", share)];
    let errors = bad(&with_share("1/1"), &variable("1/3"));
    let expected = "environment ZOHO_GATEWAY__ACCOUNTS__MAIN__SHARE: accounts.main.share: leaves nothing of a limit of 2 (people.forms.merge-records); expected at least \"1/2\"";
    assert_eq!(lines(&errors), [expected]);
}
