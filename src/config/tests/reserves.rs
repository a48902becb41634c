//! `reserve` and `max_share` of callers: what contradicts other keys.

use super::*;

/// Two callers of two routes, one of them with these keys, and more of the file.
fn with(keys: &str, allow: &str, more: &str) -> String {
    format!(
        "{ACCOUNT}[callers.portal]\nkey_sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\"\n\
         accounts = [\"main\"]\nallow = {allow}\n{keys}\n[callers.batch]\nkey_sha256 = \
         \"fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9\"\naccounts = [\"main\"]\nallow = \
         [\"people.*\"]\nreserve = 4\n{more}\n"
    )
}

const SHARE_COURSE: &str = "[\"people.lms.share-course\"]";

#[test]
fn a_reserve_fits_its_routes_and_its_own_share() {
    let told = |keys: &str, allow: &str, more: &str| lines(&bad(&with(keys, allow, more), &[]));
    let place = "gateway.toml:10:1: callers.portal.reserve: ";
    assert_eq!(
        told("reserve = 26", SHARE_COURSE, ""),
        [format!(
            "{place}leaves others no slot of people.lms.share-course, whose limit is 30, together with the reserves of \
             other callers; expected at most 25"
        )]
    );
    assert_eq!(
        told("reserve = 4\nmax_share = 3", SHARE_COURSE, ""),
        [format!("{place}expected at most 3, which is its max_share")]
    );
    // A number that the operator sets counts as named, also with a pattern.
    let small = "[routes.\"people.lms.share-course\"]\nrequests = 6";
    let faults = told("reserve = 2", "[\"people.lms.*\"]", small);
    assert!(faults.iter().all(|fault| fault.contains("whose limit is 6")), "{faults:?}");
    assert!(faults[0].ends_with("at most 1") && faults[1].ends_with("at most 3") && faults.len() == 2, "{faults:?}");
    for fits in ["reserve = 25", "reserve = 3\nmax_share = 3", "max_share = 1", "max_wait = \"0s\""] {
        assert!(parse("gateway.toml", &with(fits, SHARE_COURSE, ""), []).is_ok(), "{fits}");
    }
    assert_eq!(
        told("max_share = 0", SHARE_COURSE, ""),
        ["gateway.toml:10:13: callers.portal.max_share: expected an integer from 1 to 1000000"]
    );
}

#[test]
fn reserve_and_max_share_are_for_several_gateways_too() {
    let text = with("max_share = 9", SHARE_COURSE, "")
        .replace("[callers.portal]", "[state]\nredis = \"redis://r\"\n[callers.portal]");
    assert!(parse("gateway.toml", &text, []).is_ok());
}

#[test]
fn the_longest_preference_is_at_least_the_usual_wait() {
    let faults = lines(&bad(&format!("{ACCOUNT}[queue]\nmax_preferred_wait = \"10s\"\n"), &[]));
    assert!(
        faults[0].contains("queue.max_preferred_wait: expected at least queue.max_wait, which is 75 s"),
        "{faults:?}"
    );
}

#[test]
fn the_terms_of_a_caller_are_read() {
    let text = with("reserve = 2\nmax_share = 20\nmax_wait = \"20s\"\nweight = 3", SHARE_COURSE, "");
    let config = parse("gateway.toml", &text, []).unwrap();
    let terms = config.callers.callers().next().unwrap().who.terms();
    assert_eq!((terms.weight.get(), terms.reserve), (3, 2));
    assert_eq!((terms.max_share.map(|most| most.get()), terms.max_wait), (Some(20), Some(Duration::from_secs(20))));
}
