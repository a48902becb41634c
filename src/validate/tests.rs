//! The tables under `tests/it/payloads/`, and what no table can list: sizes, wording, and arbitrary bytes.

use proptest::prelude::*;
use serde::Deserialize;

use super::{check, findings};
use crate::{
    catalogue::{Kind, Parameter, Place},
    fault::Fault,
};

const BAD: &str = include_str!("../../tests/it/payloads/bad.toml");
const GOOD: &str = include_str!("../../tests/it/payloads/good.toml");

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    route: String,
    query: Option<String>,
    form: Option<String>,
    form_hex: Option<String>,
    #[serde(default)]
    errors: Vec<(String, String)>,
}

impl Case {
    fn check(&self) -> Result<(), Vec<Fault>> {
        let bytes = self.form_hex.as_deref().map(|hex| {
            hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect::<Vec<u8>>()
        });
        let form = self.form.as_deref().map(str::as_bytes).or(bytes.as_deref());
        check(&parameters(&self.route), self.query.as_deref(), form)
    }
}

const ROUTES: [&str; 4] = [
    "people.lms.share-course",
    "people.lms.get-shared-users",
    "people.lms.remove-shared-user",
    "calendar.calendars.share-calendar",
];

fn parameters(route: &str) -> Vec<Parameter> {
    use Place::{Form, Query};
    let (name, places, required, kind) = match route {
        "people.lms.share-course" => ("erecnosList", vec![Form, Query], true, Kind::RecordNumbers),
        "people.lms.get-shared-users" => ("startIndex", vec![Query], false, Kind::Index),
        "people.lms.remove-shared-user" => ("sharedUserErecno", vec![Form, Query], true, Kind::RecordNumber),
        "calendar.calendars.share-calendar" => ("shareData", vec![Query, Form], true, Kind::CalendarShare),
        other => panic!("no such route: {other}"),
    };
    vec![Parameter { name: name.to_owned(), places, required, kind }]
}

fn faults(route: &str, form: &str) -> Vec<Fault> {
    check(&parameters(route), None, Some(form.as_bytes())).expect_err("a payload with faults")
}

fn only_detail(route: &str, form: &str) -> String {
    match faults(route, form).as_slice() {
        [fault] => fault.detail.clone(),
        several => panic!("expected one fault: {several:#?}"),
    }
}

// === the tables ===

#[test]
fn refuses_every_bad_payload_for_exactly_its_faults() {
    let table: Table = toml::from_str(BAD).expect("bad.toml parses");
    assert!(table.case.len() >= 75);
    let mut wrong = Vec::new();
    for case in table.case {
        assert!(!case.errors.is_empty(), "{}: without errors it belongs into good.toml", case.name);
        let faults = case.check().err().unwrap_or_default();
        let found: Vec<_> = faults.iter().map(|fault| (fault.parameter.clone(), fault.pointer.clone())).collect();
        if found != case.errors {
            wrong.push(format!("{}: expected {:?}, found {faults:#?}", case.name, case.errors));
        }
        for fault in faults {
            assert!(!fault.detail.contains(char::is_control), "{}: {:?}", case.name, fault.detail);
            assert!(fault.detail.len() < 300, "{}: {}", case.name, fault.detail);
            assert!(fault.detail.contains("expected") || fault.detail.contains("mandatory"), "{}", fault.detail);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn passes_every_good_payload() {
    let table: Table = toml::from_str(GOOD).expect("good.toml parses");
    assert!(table.case.len() >= 30);
    for case in table.case {
        assert!(case.errors.is_empty(), "{}: with errors it belongs into bad.toml", case.name);
        assert_eq!(case.check(), Ok(()), "{}", case.name);
    }
}

// === wording ===

#[test]
fn says_where_a_missing_parameter_belongs() {
    let missing = only_detail("people.lms.share-course", "");
    assert_eq!(missing, "this parameter is mandatory but missing; send it in the form body or in the query");

    let mut only_query = parameters("calendar.calendars.share-calendar");
    only_query[0].places = vec![Place::Query];
    let elsewhere = check(&only_query, None, Some(b"shareData={}")).expect_err("the form does not count");
    assert_eq!(
        elsewhere[0].detail,
        "this parameter is mandatory and is not read from the form body; send it in the query"
    );
}

#[test]
fn explains_a_plus_that_became_a_space() {
    let with = |address: &str| {
        only_detail(
            "calendar.calendars.share-calendar",
            &format!(r#"shareData={{"type":"user","mailid":"{address}"}}"#),
        )
    };
    assert!(with("user+tag@domain.com").contains("%2B"));
    assert!(!with("user%20tag@domain.com").contains("%2B"));
    assert!(!with("us%2Ber").contains("%2B"));
    assert!(!with("localhost\",+\"note\":\"").contains("%2B"));
}

#[test]
fn names_what_an_editor_does_not_show() {
    assert!(only_detail("people.lms.share-course", "erecnosList=%EF%BB%BF[1]").contains("byte order mark"));
    assert!(only_detail("people.lms.share-course", r#"erecnosList=["\ud800"]"#).contains("surrogate"));
}

#[test]
fn quotes_the_digits_it_was_given() {
    let detail = only_detail("people.lms.share-course", "erecnosList=[9223372036854775809]");
    assert!(detail.contains("`9223372036854775809`"), "{detail}");
}

#[test]
fn says_that_the_quoted_text_is_shortened() {
    let detail = only_detail("people.lms.get-shared-users", "startIndex=1&startIndex=2");
    assert_eq!(detail, "expected once, but given twice in the form body");
    let long = "9".repeat(1000);
    let detail = only_detail("people.lms.remove-shared-user", &format!("sharedUserErecno={long}"));
    assert!(detail.ends_with(&format!("but found `{}…`", &long[..40])), "{detail}");
}

// === sizes ===

#[test]
fn nests_32_deep_and_no_deeper() {
    let nested = |depth: usize| {
        // The object itself is the first level.
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        let form = format!(r#"shareData={{"type":"group","zgid":1,"x":{open}{close}}}"#);
        check(&parameters("calendar.calendars.share-calendar"), None, Some(form.as_bytes()))
    };
    assert_eq!(nested(32), Ok(()));
    let faults = nested(33).expect_err("one too many");
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].pointer, format!("/x{}", "/0".repeat(31)));
}

#[test]
fn a_megabyte_of_brackets_is_few_faults() {
    let half = 512 * 1024;
    let closed = format!("erecnosList={}{}", "[".repeat(half), "]".repeat(half));
    assert_eq!(faults("people.lms.share-course", &closed).len(), 2, "too deep, and not a record number");
    let open = format!("erecnosList={}", "[".repeat(2 * half));
    assert_eq!(faults("people.lms.share-course", &open).len(), 1);
    let objects = format!("erecnosList={}", r#"{"":"#.repeat(2 * half / 4));
    assert_eq!(faults("people.lms.share-course", &objects).len(), 1);
}

#[test]
fn stops_listing_at_the_bound() {
    for form in [
        format!("erecnosList=[{}-1]", "-1,".repeat(300_000)),
        format!("erecnosList=[{}0]", r#"{"":0,"":0},"#.repeat(80_000)),
        format!("erecnosList=[1]{}", "&%".repeat(300_000)),
    ] {
        assert_eq!(faults("people.lms.share-course", &form).len(), findings::MOST);
    }
}

#[test]
fn a_long_key_does_not_multiply() {
    let key = "k".repeat(100_000);
    let twice: Vec<_> = (0..50).map(|n| format!(r#""{n}":0,"{n}":0"#)).collect();
    let form = format!(r#"shareData={{"type":"group","zgid":1,"{key}":{{{}}}}}"#, twice.join(","));
    let faults = faults("calendar.calendars.share-calendar", &form);
    assert_eq!(faults.len(), 50);
    assert!(faults.iter().all(|fault| fault.pointer.is_empty()));
}

// === arbitrary input ===

fn judge_everywhere(query: &str, form: &[u8]) {
    for route in ROUTES {
        if let Err(faults) = check(&parameters(route), Some(query), Some(form)) {
            assert!(!faults.is_empty() && faults.len() <= findings::MOST);
        }
    }
}

/// Every byte as an escape, so that any text arrives as it is.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

proptest! {
    #[test]
    fn never_panics_on_bytes(query in any::<String>(), form in any::<Vec<u8>>()) {
        judge_everywhere(&query, &form);
    }

    #[test]
    fn never_panics_on_what_looks_like_a_payload(
        name in "erecnosList|startIndex|sharedUserErecno|shareData",
        value in r#"([\[\]{}:,"\\ud8-9e.+@%&=é\x00-\x20-]|"type"|"user"|"group"|"mailid"|"zgid"|\\ud83d|a@b\.co){0,40}"#,
    ) {
        judge_everywhere(&format!("{name}={value}"), b"");
        judge_everywhere("", format!("{name}={}", encoded(&value)).as_bytes());
    }

    #[test]
    fn never_panics_on_any_member(value in any::<String>()) {
        let value = serde_json::to_string(&value).unwrap();
        for json in [
            format!(r#"{{"type":"user","mailid":{value},"mode":{value}}}"#),
            format!(r#"{{"type":"group","zgid":{value},"privilege":{value},{value}:{{}}}}"#),
        ] {
            judge_everywhere(&format!("shareData={}", encoded(&json)), b"");
        }
    }

    #[test]
    fn takes_every_record_number(numbers in prop::collection::vec((0..=i64::MAX, any::<bool>()), 1..20)) {
        let written: Vec<_> =
            numbers.iter().map(|&(number, quoted)| if quoted { format!("\"{number}\"") } else { number.to_string() }).collect();
        let form = format!("erecnosList=[{}]", written.join(","));
        prop_assert_eq!(check(&parameters("people.lms.share-course"), None, Some(form.as_bytes())), Ok(()));
    }

    #[test]
    fn takes_no_number_that_is_not_a_long(number in any::<i128>().prop_filter("a long", |n| !(0..=i64::MAX.into()).contains(n))) {
        for form in [format!("erecnosList=[{number}]"), format!("erecnosList=[\"{number}\"]")] {
            let faults = faults("people.lms.share-course", &form);
            prop_assert_eq!(&faults[0].pointer, "/0");
        }
    }

    #[test]
    fn takes_no_key_twice(key in any::<String>()) {
        let key = serde_json::to_string(&key).unwrap();
        let json = format!(r#"{{"type":"group","zgid":1,"x":{{{key}:1,{key}:1}}}}"#);
        let faults = faults("calendar.calendars.share-calendar", &format!("shareData={}", encoded(&json)));
        prop_assert_eq!(faults.len(), 1);
    }
}
