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

/// Calls that nobody may make have no limit in force.
#[test]
fn every_limit_of_which_nothing_is_left_is_told() {
    let told = |share: &str| lines(&bad(&with_share(share), &[]));
    let fault = |limit: &str, number: u32| {
        format!(
            "gateway.toml:7:9: accounts.main.share: leaves nothing of {limit} = {number}; expected at least \"1/{number}\""
        )
    };
    assert_eq!(told("1/3"), [fault("people.forms.merge-records", 2)]);
    let all = [
        fault("calendar.other.any-call", 3),
        fault("daily_calls", 8),
        fault("people.forms.merge-records", 2),
        fault("people.lms.get-shared-users", 30),
        fault("token.requests", 4),
    ];
    assert_eq!(told("1/31"), all);
    assert!(parse("gateway.toml", &with_share("1/2"), []).is_ok());
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
    let expected = "environment ZOHO_GATEWAY__ACCOUNTS__MAIN__SHARE: accounts.main.share: leaves nothing of people.forms.merge-records = 2; expected at least \"1/2\"";
    assert_eq!(lines(&errors), [expected]);
}
