//! The tables in `tests/it/payloads/`, and cases that a table cannot list: sizes, wording, and arbitrary bytes.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde::Deserialize;

use super::{Content, findings};
use crate::{
    message::payload_error::Fault,
    zoho::catalogue::{Catalogue, Parameter, Parameters, Place, Validation},
};

const BAD: &str = include_str!("../../../tests/it/payloads/bad.toml");
const GOOD: &str = include_str!("../../../tests/it/payloads/good.toml");

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

/// The parameters of a route in the catalogue.
fn parameters(route: &str) -> Vec<Parameter> {
    static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::published().expect("the catalogue loads"));
    let route = CATALOGUE.routes.iter().find(|known| known.id.as_str() == route).expect("a route of the catalogue");
    route.parameters.to_vec()
}

fn check(parameters: &[Parameter], query: Option<&str>, form: Option<&[u8]>) -> Result<(), Vec<Fault>> {
    super::check(parameters, Validation::Documented, query, form)
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
fn rejects_every_bad_payload_with_exactly_its_faults() {
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
fn accepts_every_good_payload() {
    let table: Table = toml::from_str(GOOD).expect("good.toml parses");
    assert!(table.case.len() >= 30);
    for case in table.case {
        assert!(case.errors.is_empty(), "{}: with errors it belongs into bad.toml", case.name);
        assert_eq!(case.check(), Ok(()), "{}", case.name);
    }
}

// === wording ===

#[test]
fn says_where_to_send_a_missing_parameter() {
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
fn names_invisible_characters() {
    assert!(only_detail("people.lms.share-course", "erecnosList=%EF%BB%BF[1]").contains("byte order mark"));
    assert!(only_detail("people.lms.share-course", r#"erecnosList=["\ud800"]"#).contains("surrogate"));
}

#[test]
fn quotes_the_digits_of_the_request() {
    let detail = only_detail("people.lms.share-course", "erecnosList=[9223372036854775809]");
    assert!(detail.contains("`9223372036854775809`"), "{detail}");
}

#[test]
fn marks_shortened_quotes() {
    let detail = only_detail("people.lms.get-shared-users", "startIndex=1&startIndex=2");
    assert_eq!(detail, "expected once, but given twice in the form body");
    let long = "9".repeat(1000);
    let detail = only_detail("people.lms.remove-shared-user", &format!("sharedUserErecno={long}"));
    assert!(detail.ends_with(&format!("but found `{}…`", &long[..40])), "{detail}");
}

// === strict ===

fn strict(route: &str, query: Option<&str>, form: Option<&str>) -> Vec<(String, String, String)> {
    let faults = super::check(&parameters(route), Validation::Strict, query, form.map(str::as_bytes));
    let fields = |fault: Fault| (fault.parameter, fault.pointer, fault.detail);
    faults.err().unwrap_or_default().into_iter().map(fields).collect()
}

fn fault(parameter: &str, pointer: &str, detail: &str) -> (String, String, String) {
    (parameter.to_owned(), pointer.to_owned(), detail.to_owned())
}

#[test]
fn strict_rejects_unknown_parameters() {
    let route = "people.lms.share-course";
    let known = "expected only the parameter erecnosList, but found ";
    assert_eq!(
        strict(route, Some("debug&trace=1"), Some("erecnosList=[1]&note=x")),
        ["debug", "trace", "note"].map(|name| fault(name, "", &format!("{known}`{name}`")))
    );
    assert_eq!(strict(route, None, Some("erecnosList=[1]")), []);
    // Documented parameters come first; a name given twice is reported as unknown once.
    assert_eq!(
        strict(route, Some("b=1&a=%"), Some("b=2")),
        [
            fault(
                "a",
                "",
                "expected a value that decodes, but `%` is not a percent sign with two hexadecimal digits (a percent sign itself is written %25)"
            ),
            fault("b", "", "expected once, but given in the query and again in the form body"),
            fault(
                "erecnosList",
                "",
                "this parameter is mandatory but missing; send it in the form body or in the query"
            ),
            fault("b", "", &format!("{known}`b`")),
            fault("a", "", &format!("{known}`a`")),
        ]
    );
}

#[test]
fn strict_rejects_a_parameter_in_the_wrong_place() {
    let faults = strict("people.lms.get-shared-users", None, Some("startIndex=1"));
    assert_eq!(faults, [fault("startIndex", "", "expected in the query, but given in the form body")]);
}

#[test]
fn strict_rejects_unknown_keys() {
    let data = r#"shareData={"type":"group","zgid":1,"Mode":"add","privilege":"delegate","a/b":{"c":1}}"#;
    let known = "expected only the keys type, privilege, mode, mailid, zgid, but found ";
    assert_eq!(
        strict("calendar.calendars.share-calendar", Some(data), None),
        [
            fault(
                "shareData",
                "/privilege",
                "expected freebusy or view, because delegate is for users, not for groups"
            ),
            fault("shareData", "/Mode", &format!("{known}`Mode`")),
            fault("shareData", "/a~1b", &format!("{known}`a/b`")),
        ]
    );
}

#[test]
fn strict_stops_listing_at_the_maximum() {
    let many: Vec<_> = (0..100_000).map(|n| format!("n{n}")).collect();
    assert_eq!(strict("people.lms.share-course", Some(&many.join("&")), None).len(), findings::MAX_FAULTS);
    let keys: Vec<_> = many.iter().map(|name| format!("\"{name}\":1")).collect();
    let data = format!(r#"shareData={{"type":"group","zgid":1,{}}}"#, keys.join(","));
    assert_eq!(strict("calendar.calendars.share-calendar", None, Some(&data)).len(), findings::MAX_FAULTS);
}

#[test]
fn strict_rejects_every_parameter_of_a_page_without_any() {
    let faults = super::check(&[], Validation::Strict, Some("a=1"), None).expect_err("nothing is known");
    assert_eq!(faults[0].detail, "expected no parameter, because the call's page documents none, but found `a`");
    assert_eq!(super::check(&[], Validation::Strict, Some(""), Content::Form(b"")), Ok(()));
}

#[test]
fn off_checks_nothing() {
    assert_eq!(super::check(&parameters("people.lms.share-course"), Validation::Off, Some("a=%&a"), None), Ok(()));
}

// === rules that no page needs today ===

/// Reads parameters from the lines of a catalogue file.
fn parsed(lines: &str) -> Parameters {
    #[derive(Deserialize)]
    struct File {
        parameters: Parameters,
    }
    toml::from_str::<File>(&format!("parameters = [{lines}]")).expect("parameters").parameters
}

fn details(lines: &str, query: &str) -> Vec<String> {
    let faults = check(&parsed(lines), Some(query), None).err().unwrap_or_default();
    faults.into_iter().map(|fault| format!("{}{}: {}", fault.parameter, fault.pointer, fault.detail)).collect()
}

#[test]
fn every_kind_says_what_it_expects() {
    let kinds = "
        { name = 'text', in = ['query'], kind = 'text', min = 1, max = 3 },
        { name = 'long', in = ['query'], kind = 'text', called = 'a remark', max = 3 },
        { name = 'page', in = ['query'], kind = 'integer', min = 1, max = 200 },
        { name = 'shift', in = ['query'], kind = 'integer', min = -5, max = 5 },
        { name = 'id', in = ['query'], kind = 'digits', called = 'a department id', min = 15, max = 19 },
        { name = 'sort', in = ['query'], kind = 'one-of', values = ['asc', 'desc'] },
        { name = 'mail', in = ['query'], kind = 'e-mail' },
        { name = 'from', in = ['query'], kind = 'date', format = ['dd-MMM-yyyy', 'yyyy-MM-dd'] },
        { name = 'all', in = ['query'], kind = 'boolean' },
        { name = 'data', in = ['query'], kind = 'json', value = { kind = 'array', min = 2, max = 3, items = { kind = 'object', fields = [
            { name = 'on', required = true, kind = 'date', format = 'yyyy-MM-dd' },
            { name = 'tags', kind = 'array', items = { kind = 'text' } },
        ] } } },
        { name = 'free', in = ['query'], kind = 'json' },
    ";
    let good = "text=abc&long=&page=1&shift=-5&id=588882000000212025&sort=asc&mail=a@b.example&from=29-Feb-2024&all=true\
                &data=[{\"on\":\"2024-02-29\",\"tags\":[\"a\"]},{\"on\":\"2024-03-01\"}]&free={}";
    assert_eq!(details(kinds, good), [""; 0]);
    let bad = "text=&long=abcd&page=201&shift=-0&id=1&sort=up&mail=a&from=2023-02-29&all=1\
               &data=[{\"tags\":[1]},{\"on\":1,\"tags\":{}},[],{\"on\":\"2024-02-29\"}]&free={";
    assert_eq!(
        details(kinds, bad),
        [
            "text: expected a text of 1 to 3 characters, but found nothing",
            "long: expected a remark of at most 3 characters, but found `abcd`: it is longer",
            "page: expected an integer from 1 (digits only, at most 200), but found `201`",
            "shift: expected an integer from -5 to 5, but found `-0`",
            "id: expected a department id (digits only, 15 to 19 of them), but found `1`",
            "sort: expected one of asc, desc, but found `up`",
            "mail: expected an e-mail address, but found `a`: it has no @",
            "from: expected a date as dd-MMM-yyyy or yyyy-MM-dd, but found `2023-02-29`",
            "all: expected true or false, but found `1`",
            "data: expected at most 3 objects, but the array has 4",
            "data/0/on: expected a date, but on is missing",
            "data/0/tags/0: expected a text, but found the number `1`",
            "data/1/on: expected a date as yyyy-MM-dd, but found the number `1`",
            "data/1/tags: expected an array of texts, but found an object",
            "data/2: expected an object, but found an array",
            "free: expected JSON, but `{` does not parse: EOF while parsing an object at line 1 column 1",
        ]
    );
}

#[test]
fn parameters_depend_on_one_another_like_fields() {
    let lines = "
        { name = 'scope', in = ['query'], kind = 'one-of', values = ['all', 'some'] },
        { name = 'ids', in = ['query'], required-when = { scope = 'some' }, kind = 'digits' },
        { name = 'view', in = ['query'], kind = 'one-of', values = ['short', 'full'], except = { values = ['full'], when = { scope = 'all' } } },
    ";
    for good in ["", "scope=all", "scope=some&ids=1&view=full", "view=full"] {
        assert_eq!(details(lines, good), [""; 0], "{good}");
    }
    let missing = details(lines, "scope=some");
    assert_eq!(missing, ["ids: this parameter is mandatory but missing; send it in the query"]);
    // A sibling that has a fault, or is in the wrong place, meets no condition.
    assert_eq!(details(lines, "scope=some&scope=some"), ["scope: expected once, but given twice in the query"]);
    assert_eq!(check(&parsed(lines), None, Some(b"scope=some")), Ok(()));
    let excepted = details(lines, "scope=all&view=full");
    assert_eq!(excepted, ["view: expected short where scope is all, but found `full`"]);
}

#[test]
fn a_condition_holds_when_all_its_parts_hold() {
    let lines = "{ name = 'data', in = ['query'], kind = 'json', value = { kind = 'object', fields = [
        { name = 'whole', kind = 'boolean' },
        { name = 'mode', kind = 'one-of', values = ['add', 'edit', 'delete'] },
        { name = 'at', kind = 'text', required-when = { whole = 'false', mode = ['add', 'edit'] } },
    ] } }";
    for good in [
        r#"{"whole":false}"#,
        r#"{"mode":"add"}"#,
        r#"{"whole":true,"mode":"add"}"#,
        r#"{"whole":false,"mode":"delete"}"#,
    ] {
        assert_eq!(details(lines, &format!("data={good}")), [""; 0], "{good}");
    }
    for bad in [r#"{"whole":false,"mode":"add"}"#, r#"{"whole":"false","mode":"edit"}"#] {
        assert_eq!(details(lines, &format!("data={bad}")), ["data/at: expected a text, but at is missing"], "{bad}");
    }
}

/// The example in docs/rules.md: the row, the wrong payload, and the faults.
#[test]
fn the_example_in_the_docs_is_correct() {
    #[derive(Deserialize)]
    struct File {
        route: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        parameters: Parameters,
    }
    let page = include_str!("../../../docs/rules.md");
    let block = |kind: &str| {
        page.split(&format!("```{kind}\n")).nth(1).and_then(|rest| rest.split("```").next()).expect("a block")
    };
    let file: File = toml::from_str(block("toml")).expect("the row");
    let (payload, expected) = block("text").split_once("\n\n").expect("a payload, and its faults");
    let faults = check(&file.route[0].parameters, None, Some(payload.as_bytes())).expect_err("a wrong payload");
    let lines: Vec<_> = faults
        .into_iter()
        .map(|fault| format!("{:17} {}", format!("{} {}", fault.parameter, fault.pointer).trim_end(), fault.detail))
        .collect();
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
}

// === sizes ===

#[test]
fn accepts_32_levels_and_no_more() {
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
fn reports_a_megabyte_of_brackets_with_few_faults() {
    let half = 512 * 1024;
    let closed = format!("erecnosList={}{}", "[".repeat(half), "]".repeat(half));
    assert_eq!(faults("people.lms.share-course", &closed).len(), 2, "too deep, and not a record number");
    let open = format!("erecnosList={}", "[".repeat(2 * half));
    assert_eq!(faults("people.lms.share-course", &open).len(), 1);
    let objects = format!("erecnosList={}", r#"{"":"#.repeat(2 * half / 4));
    assert_eq!(faults("people.lms.share-course", &objects).len(), 1);
}

#[test]
fn stops_listing_at_the_maximum() {
    for form in [
        format!("erecnosList=[{}-1]", "-1,".repeat(300_000)),
        format!("erecnosList=[{}0]", r#"{"":0,"":0},"#.repeat(80_000)),
        format!("erecnosList=[1]{}", "&%".repeat(300_000)),
    ] {
        assert_eq!(faults("people.lms.share-course", &form).len(), findings::MAX_FAULTS);
    }
}

#[test]
fn pointers_omit_a_long_key() {
    let key = "k".repeat(100_000);
    let twice: Vec<_> = (0..50).map(|n| format!(r#""{n}":0,"{n}":0"#)).collect();
    let form = format!(r#"shareData={{"type":"group","zgid":1,"{key}":{{{}}}}}"#, twice.join(","));
    let faults = faults("calendar.calendars.share-calendar", &form);
    assert_eq!(faults.len(), 50);
    assert!(faults.iter().all(|fault| fault.pointer.is_empty()));
}

// === arbitrary input ===

fn check_everywhere(query: &str, form: &[u8]) {
    for route in ROUTES {
        if let Err(faults) = check(&parameters(route), Some(query), Some(form)) {
            assert!(!faults.is_empty() && faults.len() <= findings::MAX_FAULTS);
        }
    }
}

/// Every byte as an escape, so that any text arrives unchanged.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

proptest! {
    #[test]
    fn never_panics_on_bytes(query in any::<String>(), form in any::<Vec<u8>>()) {
        check_everywhere(&query, &form);
    }

    #[test]
    fn never_panics_on_text_like_a_payload(
        name in "erecnosList|startIndex|sharedUserErecno|shareData",
        value in r#"([\[\]{}:,"\\ud8-9e.+@%&=é\x00-\x20-]|"type"|"user"|"group"|"mailid"|"zgid"|\\ud83d|a@b\.co){0,40}"#,
    ) {
        check_everywhere(&format!("{name}={value}"), b"");
        check_everywhere("", format!("{name}={}", encoded(&value)).as_bytes());
    }

    #[test]
    fn never_panics_on_any_member(value in any::<String>()) {
        let value = serde_json::to_string(&value).unwrap();
        for json in [
            format!(r#"{{"type":"user","mailid":{value},"mode":{value}}}"#),
            format!(r#"{{"type":"group","zgid":{value},"privilege":{value},{value}:{{}}}}"#),
        ] {
            check_everywhere(&format!("shareData={}", encoded(&json)), b"");
        }
    }

    #[test]
    fn accepts_every_record_number(numbers in prop::collection::vec((0..=i64::MAX, any::<bool>()), 1..20)) {
        let list: Vec<_> =
            numbers.iter().map(|&(number, quoted)| if quoted { format!("\"{number}\"") } else { number.to_string() }).collect();
        let form = format!("erecnosList=[{}]", list.join(","));
        prop_assert_eq!(check(&parameters("people.lms.share-course"), None, Some(form.as_bytes())), Ok(()));
    }

    #[test]
    fn rejects_numbers_that_are_not_a_long(number in any::<i128>().prop_filter("a long", |n| !(0..=i64::MAX.into()).contains(n))) {
        for form in [format!("erecnosList=[{number}]"), format!("erecnosList=[\"{number}\"]")] {
            let faults = faults("people.lms.share-course", &form);
            prop_assert_eq!(&faults[0].pointer, "/0");
        }
    }

    #[test]
    fn rejects_a_key_given_twice(key in any::<String>()) {
        let key = serde_json::to_string(&key).unwrap();
        let json = format!(r#"{{"type":"group","zgid":1,"x":{{{key}:1,{key}:1}}}}"#);
        let faults = faults("calendar.calendars.share-calendar", &format!("shareData={}", encoded(&json)));
        prop_assert_eq!(faults.len(), 1);
    }
}
