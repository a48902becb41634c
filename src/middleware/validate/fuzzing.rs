//! Fuzzes payloads: other decoders read an accepted payload the same way, and its rewritten form is accepted too.

use std::{collections::HashSet, sync::LazyLock};

use oauth2::url::form_urlencoded::{self, Serializer};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::check;
use crate::zoho::catalogue::{Catalogue, Kind, Parameter, Parameters, Validation};

/// The catalogue's calls with rules, and one call with every other kind of rule.
static CALLS: LazyLock<Vec<(String, Parameters)>> = LazyLock::new(|| {
    let catalogue = Catalogue::published().expect("the catalogue");
    let with_rules = catalogue.routes.into_iter().filter(|route| !route.parameters.is_empty());
    let mut calls: Vec<_> = with_rules.map(|route| (route.id.to_string(), route.parameters)).collect();
    let Row { parameters } = toml::from_str(EVERY_KIND).expect("parameters");
    calls.push(("every kind".to_owned(), parameters));
    calls
});

const EVERY_KIND: &str = r#"parameters = [
    { name = "t", in = ["query", "form"], kind = "text", min = 1, max = 5 },
    { name = "i", in = ["query", "form"], kind = "integer", min = -7, max = 4000000000 },
    { name = "d", in = ["query"], kind = "date", format = "yyyy-MM-dd" },
    { name = "b", in = ["form"], kind = "boolean" },
    { name = "e", in = ["query", "form"], kind = "e-mail" },
    { name = "j", in = ["query", "form"], kind = "json", value = { kind = "object", fields = [
        { name = "any", kind = "any" },
        { name = "a/b", required = true, kind = "array", max = 3, items = { kind = "object", fields = [
            { name = "n", kind = "integer", min = 0, max = 9 },
            { name = "w", kind = "one-of", values = ["x", "y"], except = { values = ["y"], when = { f = "true" } } },
            { name = "f", kind = "boolean" },
            { name = "~", required-when = { w = "x" }, kind = "date", format = "dd-MMM-yyyy" },
        ] } },
    ] } },
]"#;

#[derive(Deserialize)]
struct Row {
    parameters: Parameters,
}

/// `shareData` as a program reads it that follows the call's page.
#[derive(Deserialize)]
struct Share<'a> {
    r#type: String,
    privilege: Option<String>,
    mode: Option<String>,
    mailid: Option<String>,
    #[serde(borrow)]
    zgid: Option<&'a RawValue>,
}

/// Takes a byte that selects the call, then a line with the query, then the form.
pub fn payload(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let (id, parameters) = &CALLS[usize::from(*choice) % CALLS.len()];
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let Some(Ok(query)) = lines.next().map(std::str::from_utf8) else { return };
    let form = lines.next();
    let check = |validation, query: &str, form: Option<&[u8]>| check(parameters, validation, Some(query), form);

    let documented = check(Validation::Documented, query, form);
    let strict = check(Validation::Strict, query, form);
    if let Err(faults) = &documented {
        let explained = faults.iter().all(|fault| !fault.detail.is_empty() && fault.detail.len() < 10_000);
        assert!((1..=100).contains(&faults.len()) && explained, "{faults:?}");
        assert!(strict.is_err(), "strict accepts what documented rejects");
        return;
    }
    let pairs = |text: &[u8]| form_urlencoded::parse(text).into_owned().collect::<Vec<(String, String)>>();
    let (in_query, in_form) = (pairs(query.as_bytes()), pairs(form.unwrap_or_default()));
    let is_list = |name: &str| {
        let is_called = |parameter: &&Parameter| parameter.names().any(|known| known == name);
        parameters.iter().find(is_called).is_some_and(|parameter| matches!(parameter.kind, Kind::List(_)))
    };
    let mut names = HashSet::new();
    for (name, value) in in_query.iter().chain(&in_form) {
        assert!(names.insert(name) || is_list(name), "{name:?} is given twice");
        assert!(!value.contains('\u{fffd}') || decoded(query, form).contains('\u{fffd}'), "{value:?} was repaired");
    }
    // Another encoder writes the same payload.
    let written = |pairs: &[(String, String)]| Serializer::new(String::new()).extend_pairs(pairs).finish();
    let (query, form) = (written(&in_query), form.map(|_| written(&in_form)));
    let form = form.as_deref().map(str::as_bytes);
    assert_eq!(check(Validation::Documented, &query, form), documented, "{query:?} {form:?}");
    assert_eq!(check(Validation::Strict, &query, form).is_ok(), strict.is_ok(), "{query:?} {form:?}");

    let value = |name: &str| in_query.iter().chain(&in_form).find(|(key, _)| key == name).map(|(_, value)| value);
    match id.as_str() {
        "calendar.calendars.share-calendar" => assert_share(value("shareData").expect("shareData")),
        "people.lms.share-course" => assert_record_numbers(value("erecnosList").expect("erecnosList")),
        "people.lms.remove-shared-user" => {
            let number = value("sharedUserErecno").expect("sharedUserErecno");
            assert!(is_digits(number), "{number:?}");
        }
        _ => {}
    }
}

/// The query and the form, percent-decoded with replacement characters.
fn decoded(query: &str, form: Option<&[u8]>) -> String {
    let bytes = [query.as_bytes(), form.unwrap_or_default()].concat();
    percent_encoding::percent_decode(&bytes).decode_utf8_lossy().into_owned()
}

fn assert_share(text: &str) {
    let share: Share<'_> = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let one_of = |word: &Option<String>, words: &[&str]| word.as_deref().is_none_or(|word| words.contains(&word));
    let privileges: &[&str] = match share.r#type.as_str() {
        "user" => &["freebusy", "view", "moderate", "delegate"],
        "group" => &["freebusy", "view"],
        other => panic!("unknown type {other:?}"),
    };
    assert!(one_of(&share.privilege, privileges), "{text}");
    assert!(one_of(&share.mode, &["add", "edit", "delete"]), "{text}");
    assert!(share.mailid.as_ref().is_none_or(|address| address.contains('@')), "{text}");
    assert!(share.zgid.is_none_or(|id| is_digits(id.get().trim_matches('"'))), "{text}");
    let has_target = if share.r#type == "user" { share.mailid.is_some() } else { share.zgid.is_some() };
    assert!(has_target, "{text}");
}

fn assert_record_numbers(text: &str) {
    let numbers: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(!numbers.is_empty() && numbers.iter().all(|number| is_digits(number.get().trim_matches('"'))), "{text}");
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
