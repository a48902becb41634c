//! Finds a list of record numbers in a payload, and writes another list in its place.
//!
//! Everything around the list stays as its caller wrote it, and each number keeps its digits: no number is ever parsed. A
//! payload that a server could read in two ways has no list, so its call is not merged.

use std::{borrow::Cow, ops::Range};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use serde_json::value::RawValue;

/// The longest text that is searched: more than the longest list that merges.
const LONGEST: usize = 64 * 1024;

/// The longest list, before equal numbers are left out.
const MOST_NUMBERS: usize = 1000;

/// The most digits of a 64-bit number.
const MOST_DIGITS: usize = 19;

/// A query or a form body without the value of its list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Template {
    before: Vec<u8>,
    after: Vec<u8>,
    /// Whether the numbers are JSON strings.
    quoted: bool,
}

/// Whether a text has the parameter.
pub(super) enum Search {
    /// It does not occur.
    Absent,
    /// It occurs once, with this list.
    Found(Template, Vec<String>),
    /// It occurs twice, or not as a list of record numbers.
    Unclear,
}

/// Looks for the list `name` in a query or a form.
pub(super) fn search(text: &[u8], name: &str) -> Search {
    if text.len() > LONGEST {
        return Search::Unclear;
    }
    let mut found = None;
    for piece in pieces(text) {
        let bytes = &text[piece.clone()];
        let equals = bytes.iter().position(|&byte| byte == b'=').unwrap_or(bytes.len());
        let Some(decoded) = decode(&bytes[..equals]) else { return Search::Unclear };
        if decoded == name {
            let value = (piece.start + equals + 1).min(piece.end)..piece.end;
            if equals == bytes.len() || found.replace(value).is_some() {
                return Search::Unclear;
            }
        }
    }
    let Some(value) = found else { return Search::Absent };
    match decode(&text[value.clone()]).and_then(|list| numbers(&list)) {
        Some((numbers, quoted)) => {
            let template = Template { before: text[..value.start].into(), after: text[value.end..].into(), quoted };
            Search::Found(template, numbers)
        }
        None => Search::Unclear,
    }
}

impl Template {
    /// The text with this list.
    pub(super) fn with<'n>(&self, numbers: impl Iterator<Item = &'n str>) -> Vec<u8> {
        let quote = if self.quoted { "\"" } else { "" };
        let numbers: Vec<String> = numbers.map(|number| format!("{quote}{number}{quote}")).collect();
        let list = format!("[{}]", numbers.join(","));
        let encoded = utf8_percent_encode(&list, NON_ALPHANUMERIC).to_string();
        [&self.before, encoded.as_bytes(), &self.after].concat()
    }
}

/// Where the pieces between ampersands are.
fn pieces(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    text.split(|&byte| byte == b'&').map(move |piece| {
        let range = start..start + piece.len();
        start = range.end + 1;
        range
    })
}

/// `None` if servers could decode it in different ways.
fn decode(text: &[u8]) -> Option<String> {
    let spaced: Cow<'_, [u8]> = match text.contains(&b'+') {
        true => text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect(),
        false => text.into(),
    };
    let mut escapes = spaced.split(|&byte| byte == b'%').skip(1);
    let whole = escapes.all(|rest| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit));
    String::from_utf8(percent_decode(&spaced).collect()).ok().filter(|_| whole)
}

/// The digits of each number of a JSON array, and whether they are strings; `None` for any other value.
fn numbers(list: &str) -> Option<(Vec<String>, bool)> {
    let items: Vec<&RawValue> = serde_json::from_str(list).ok()?;
    if items.len() > MOST_NUMBERS {
        return None;
    }
    let unquoted =
        |item: &'_ RawValue| item.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map(str::to_owned);
    let quoted = unquoted(items.first()?).is_some();
    let digits = |item: &&RawValue| {
        let text = if quoted { unquoted(item) } else { Some(item.get().to_owned()) };
        text.filter(|text| (1..=MOST_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut numbers = Vec::new();
    for item in &items {
        let number = digits(item)?;
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    Some((numbers, quoted))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Option<(Template, Vec<String>)> {
        match search(text.as_bytes(), "list") {
            Search::Found(template, numbers) => Some((template, numbers)),
            Search::Absent | Search::Unclear => None,
        }
    }

    #[test]
    fn a_list_is_found_in_any_encoding() {
        for (text, expected, quoted) in [
            ("list=%5B588882000000212025%5D", &["588882000000212025"][..], false),
            ("list=[1,2]&x=y", &["1", "2"], false),
            ("a=b&l%69st=[+1+,%202]", &["1", "2"], false),
            ("&&list=%5B%22007%22,%229223372036854775807%22%5D&", &["007", "9223372036854775807"], true),
            ("list=[3,3]", &["3"], false),
        ] {
            let (template, numbers) = found(text).unwrap();
            assert_eq!(
                (&*numbers, template.quoted),
                (&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..], quoted)
            );
        }
    }

    #[test]
    fn what_is_not_one_clear_list_does_not_merge() {
        for text in [
            "list",
            "list=",
            "list=[]",
            "list=5",
            "list=[1]&list=[2]",
            "list=[1]&l%69st=[2]",
            "list=[1.0]",
            "list=[-1]",
            "list=[1e3]",
            "list=[\"1\",2]",
            "list=[null]",
            "list=[\"x\"]",
            "list=[\"\"]",
            "list=[[1]]",
            "list={}",
            "list=[1]x",
            "list=[1]&%zz=1",
            "list=[%31",
            "list=%5B1%5",
            "%ff=1&list=[1]",
            "list=[1,]",
            "list=[99999999999999999999]",
            "list=[\"\\u0031\"]",
        ] {
            assert!(matches!(search(text.as_bytes(), "list"), Search::Unclear), "{text}");
        }
        assert!(matches!(search(b"lists=[1]&x=list", "list"), Search::Absent));
        let long = format!("list=[{}1]", "1,".repeat(LONGEST));
        assert!(matches!(search(long.as_bytes(), "list"), Search::Unclear));
    }

    #[test]
    fn everything_around_the_list_stays() {
        let (template, _) = found("a=%20b&list=[ 1 ]&c").unwrap();
        assert_eq!(template.with(["7", "8"].into_iter()), b"a=%20b&list=%5B7%2C8%5D&c");
        let (template, _) = found("list=[\"1\"]").unwrap();
        assert_eq!(template.with(["007"].into_iter()), b"list=%5B%22007%22%5D");
    }

    proptest! {
        #[test]
        fn every_number_keeps_its_digits(
            numbers in prop::collection::vec("[0-9]{1,19}", 1..60),
            quoted: bool,
            before in "([a-k]=[a-z0-9]{0,4}&)?",
            after in "(&[a-k]=[a-z0-9]{0,4})?",
        ) {
            let quote = if quoted { "\"" } else { "" };
            // JSON has no numbers that begin with zero.
            let numbers: Vec<String> =
                numbers.into_iter().map(|number| if quoted { number } else { format!("1{}", &number[1..]) }).collect();
            let list: Vec<String> = numbers.iter().map(|number| format!("{quote}{number}{quote}")).collect();
            let text = format!("{before}list=[{}]{after}", list.join(","));
            let (template, read) = found(&text).unwrap();
            let mut distinct = Vec::new();
            numbers.into_iter().for_each(|number| if !distinct.contains(&number) { distinct.push(number) });
            prop_assert_eq!(&read, &distinct);
            let composed = String::from_utf8(template.with(read.iter().map(String::as_str))).unwrap();
            prop_assert!(composed.starts_with(&before) && composed.ends_with(&after));
            let (again, reread) = found(&composed).unwrap();
            prop_assert_eq!((again, reread), (template, read));
        }
    }
}
