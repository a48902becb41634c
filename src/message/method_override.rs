//! Fields and parameters that override the method or the path of the request line: some frameworks obey them. Zoho
//! documents neither that it obeys them nor that it ignores them.
//!
//! A name is read as the most generous server reads it: in any case, decoded twice, with full-width letters as plain
//! ones, with or without invisible characters, and with any separator, because PHP turns a dot, a space and a bracket
//! into `_`.

use std::collections::VecDeque;

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

use crate::message::payload_error::Fault;

/// Names of fields, which some servers also accept as parameters; without separators.
const NAMES: [&str; 8] = [
    "httpmethodoverride",
    "xhttpmethod",
    "xhttpmethodoverride",
    "xmethodoverride",
    "xoriginalmethod",
    "xoriginaluri",
    "xoriginalurl",
    "xrewriteurl",
];

/// The word in `_method`, the parameter of Rails, Laravel, Symfony and Spring. Without `_` it is an ordinary name.
const METHOD: &str = "method";

/// The number of words in the longest name.
const MOST_WORDS: usize = 4;

/// The length of the shortest name in any spelling.
const SHORTEST: usize = "_method".len();

/// Whether a field of this name is an override.
#[must_use]
pub fn is_override(name: &str) -> bool {
    could_be(name.as_bytes()) && is_in(name)
}

/// The first override among the parameters of a query or a form. Parameters end at `&` and at `;`.
#[must_use]
pub fn in_parameters(pairs: &[u8]) -> Option<Fault> {
    let names = pairs.split(|byte| matches!(byte, b'&' | b';'));
    let names = names.map(|pair| pair.split(|byte| *byte == b'=').next().unwrap_or_default());
    names.filter(|name| name.len() >= SHORTEST && could_be(name)).find_map(of_name)
}

/// Looks for an override in a form that arrives in pieces.
#[derive(Debug, Default)]
pub struct Screen {
    /// The part of the current parameter's name that has arrived.
    name: Vec<u8>,
    /// The current parameter's name has ended.
    in_value: bool,
}

impl Screen {
    /// The longest name that is read; longer ones are bytes of a file.
    const LONGEST: usize = 64 * 1024;

    /// Whether the name of an override ends in the next piece.
    pub fn finds(&mut self, piece: &[u8]) -> bool {
        let ends = |byte: &u8| matches!(byte, b'&' | b';');
        piece.split_inclusive(ends).any(|pair| {
            let has_ended = pair.last().is_some_and(ends);
            let pair = pair.strip_suffix(b"&").or_else(|| pair.strip_suffix(b";")).unwrap_or(pair);
            let found = !self.in_value && self.read(pair, has_ended);
            if has_ended {
                *self = Self::default();
            }
            found
        })
    }

    /// Reads more of a name; returns whether it has ended and is an override.
    fn read(&mut self, pair: &[u8], has_ended: bool) -> bool {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        self.in_value = name.len() < pair.len();
        self.name.extend(name.iter().take(Self::LONGEST - self.name.len()));
        (self.in_value || has_ended) && in_parameters(&self.name).is_some()
    }
}

fn of_name(name: &[u8]) -> Option<Fault> {
    let once = decoded(name);
    let twice = if once.contains(&b'%') { decoded(&once) } else { Vec::new() };
    let found = [once, twice].into_iter().find(|name| is_in(&String::from_utf8_lossy(name)));
    found.map(|name| fault(&String::from_utf8_lossy(&name)))
}

/// The first override among the parts of a multipart body (RFC 7578). A part's name is searched wherever it could be.
#[must_use]
pub fn in_parts(body: &[u8]) -> Option<Fault> {
    let mut rest = body;
    let names = std::iter::from_fn(|| {
        let (name, after) = part_name(rest)?;
        rest = after;
        Some(name)
    });
    names.filter(|name| name.len() >= SHORTEST && could_be(name)).find_map(of_name)
}

/// The value of the first `name=`, and where the next one may begin. A value without quotes takes the whole line, so
/// that no byte is read more than twice.
fn part_name(body: &[u8]) -> Option<(&[u8], &[u8])> {
    const NAME: &[u8] = b"name";
    let at = body.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME))?;
    let after = &body[at + NAME.len()..];
    let value = after.trim_ascii_start();
    let value = value.strip_prefix(b"*").unwrap_or(value).trim_ascii_start();
    let Some(value) = value.strip_prefix(b"=").map(<[u8]>::trim_ascii_start) else { return Some((&[], after)) };
    let up_to = |text: &'_ [u8], quote| {
        text.iter().position(|byte| *byte == quote || matches!(byte, b'\r' | b'\n')).unwrap_or(text.len())
    };
    Some(match value.strip_prefix(b"\"") {
        Some(quoted) => (&quoted[..up_to(quoted, b'"')], quoted),
        None => value.split_at(up_to(value, b'\n')),
    })
}

/// Whether a name has the letters of an override, or a byte that could encode one. This alone rules out nearly all
/// names.
fn could_be(name: &[u8]) -> bool {
    let letter = |letter: u8| 1_u32 << (letter - b'a');
    let letters = name.iter().fold(0, |letters, byte| match byte.to_ascii_lowercase() {
        byte @ b'a'..=b'z' => letters | letter(byte),
        b'%' | 0x80.. => u32::MAX,
        _ => letters,
    });
    let has = |word: &[u8]| word.iter().all(|byte| letters & letter(*byte) != 0);
    has(b"method") || has(b"url") || has(b"uri")
}

/// The error for an override of this name.
#[must_use]
pub fn fault(name: &str) -> Fault {
    /// A name can be as long as a body.
    const SHOWN: usize = 100;
    let parameter = name.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let detail = "could turn the call into another one; send the intended method and path".to_owned();
    Fault { parameter, pointer: String::new(), detail }
}

/// A name as servers decode it, with `%uXXXX` as some of them know it. Invalid encodings stay as they are.
fn decoded(name: &[u8]) -> Vec<u8> {
    let hex = |digits: Option<&[u8]>| {
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => out.push(b' '),
            b'%' => {
                if let Some(byte) = hex(after.get(..2)).and_then(|code| u8::try_from(code).ok()) {
                    out.push(byte);
                    rest = &after[2..];
                } else if let (Some(b'u' | b'U'), Some(code)) = (after.first(), hex(after.get(1..5))) {
                    let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                    out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    rest = &after[5..];
                } else {
                    out.push(b'%');
                }
            }
            other => out.push(*other),
        }
    }
    out
}

/// Whether a name is an override or has one as a part: `request[_method]`, `a._method`.
fn is_in(name: &str) -> bool {
    let name = name.trim_start_matches(char::is_whitespace);
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
    found(&skeleton(name, None)) || (!plain && found(&skeleton(name, Some(OTHER))))
}

// A skeleton consists of the letters and digits of a name, and these signs.

/// `_` and `-`, and what some servers decode to them.
const JOINER: u8 = b'-';
/// What PHP turns into `_` at the start of a name.
const LOOSE: u8 = b'.';
/// Every other separator.
const OTHER: u8 = b':';
/// A letter outside ASCII.
const FOREIGN: u8 = b'~';

/// A name reduced to its letters and signs. `unseen` replaces invisible characters, for servers that end a name there.
fn skeleton(name: &str, unseen: Option<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for letter in name.chars() {
        // These decompose to themselves.
        if letter.is_ascii() || letter == char::REPLACEMENT_CHARACTER {
            out.extend(sign(letter, unseen));
        } else {
            decompose_compatible(letter, |letter| out.extend(sign(letter, unseen)));
        }
    }
    out
}

/// The sign for a letter in a skeleton.
fn sign(letter: char, unseen: Option<u8>) -> Option<u8> {
    match letter {
        'a'..='z' | '0'..='9' | 'A'..='Z' => u8::try_from(letter).ok().map(|letter| letter.to_ascii_lowercase()),
        '-' | '_' | char::REPLACEMENT_CHARACTER => Some(JOINER),
        '.' | '[' | ' ' | '+' => Some(LOOSE),
        '!'..='~' => Some(OTHER),
        _ if is_unseen(letter) => unseen,
        _ if letter.is_whitespace() => Some(LOOSE),
        _ if letter.is_alphanumeric() => Some(FOREIGN),
        _ => Some(OTHER),
    }
}

/// Control characters, combining marks, and what Unicode calls default ignorable.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || is_combining_mark(letter)
        || matches!(
            letter,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        )
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}')
        || matches!(letter, '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}')
        || matches!(letter, '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Looks for an override among the parts of a name. A part has a separator or an end on both sides.
fn found(skeleton: &[u8]) -> bool {
    let from = |at: usize, is_sought: fn(&u8) -> bool| {
        skeleton[at..].iter().position(is_sought).map_or(skeleton.len(), |offset| at + offset)
    };
    let mut words: VecDeque<Word<'_>> = VecDeque::with_capacity(MOST_WORDS + 1);
    let (mut behind, mut start) = (0, from(0, is_of_a_word));
    while start < skeleton.len() {
        let end = from(start, |sign| !is_of_a_word(sign));
        let next = from(end, is_of_a_word);
        let word = Word { is_first: behind == 0, gap: &skeleton[behind..start], text: &skeleton[start..end] };
        let is_last = next == skeleton.len() || ends_part(&skeleton[end..next]);
        let found = is_last && word.is_method();
        let ends_a_name = is_last && NAMES.iter().any(|name| name.as_bytes().ends_with(word.text));
        words.push_front(word);
        words.truncate(MOST_WORDS);
        if found || (ends_a_name && make_a_name(&words)) {
            return true;
        }
        (behind, start) = (end, next);
    }
    false
}

/// A word of a skeleton and the signs before it.
struct Word<'s> {
    is_first: bool,
    gap: &'s [u8],
    text: &'s [u8],
}

impl Word<'_> {
    /// Whether it is `_method`.
    fn is_method(&self) -> bool {
        let joined = self.gap.ends_with(&[JOINER]);
        let loose = !self.gap.is_empty() && self.gap.iter().all(|sign| matches!(*sign, LOOSE | JOINER));
        self.text == METHOD.as_bytes() && if self.is_first { joined || loose } else { joined && ends_part(self.gap) }
    }
}

/// Whether the words of one part, from the last one back, make an override.
fn make_a_name(words: &VecDeque<Word<'_>>) -> bool {
    let mut joined = Vec::new();
    words.iter().any(|word| {
        joined.splice(..0, word.text.iter().copied());
        (word.is_first || ends_part(word.gap)) && NAMES.iter().any(|name| name.as_bytes() == joined)
    })
}

fn is_of_a_word(sign: &u8) -> bool {
    sign.is_ascii_alphanumeric() || *sign == FOREIGN
}

/// Whether the signs between two words separate parts.
fn ends_part(gap: &[u8]) -> bool {
    gap.iter().any(|sign| *sign != JOINER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_the_most_generous_server_does() {
        for pairs in [
            "_method=DELETE",
            "a=1&_METHOD=x",
            "%5fmethod=x",
            "%255fmethod=x",
            "%u005fmethod=x",
            "_method[]=x",
            "_method%5B0%5D=x",
            "_method%00=x",
            "_method%00x=x",
            "+_method=x",
            "%20_method%20=x",
            "a=1;_method=x",
            "x-http-method-override=x",
            "X_Http_Method_Override",
            "XHTTPMethodOverride=x",
            "x_original_url=x",
            "%09_method%0a=x",
            "%EF%BB%BF_method=x",
            ".method=x",
            "[method=x",
            "_.method=x",
            "__method=x",
            "_method.=x",
            "_method_=x",
            "_method[=x",
            "_method.0=x",
            "X.HTTP.Method.Override=x",
            "X+HTTP+Method=x",
            "request[_method]=x",
            "request%5B_method%5D=x",
            "request[a][_method]=x",
            "a._method=x",
            "a[x-http-method]=x",
            // A zero-width space, a soft hyphen, a word joiner, a variation selector, a control and a combining mark.
            "_met%E2%80%8Bhod=x",
            "_%C2%ADmethod=x",
            "%E2%81%A0_method=x",
            "_method%EF%B8%8F=x",
            "_me%07thod=x",
            "_m%CC%81ethod=x",
            "_%00m%00e%00t%00h%00o%00d%00=x",
            // Full-width letters, a line that is one only after normalisation, and an overlong one.
            "%EF%BC%BF%EF%BD%8D%EF%BD%85%EF%BD%94%EF%BD%88%EF%BD%8F%EF%BD%84=x",
            "%EF%B8%B3method=x",
            "%C1%9Fmethod=x",
            "_ﬁ=1&_ⓜethod=x",
        ] {
            assert!(in_parameters(pairs.as_bytes()).is_some(), "{pairs}");
        }
        for pairs in [
            "",
            "a=_method",
            "method=x",
            "+method=x",
            "x_method=x",
            "payment-method=x",
            "sort[method]=x",
            "a.method=x",
            "_methods=x",
            "_method_type=x",
            "_methodé=x",
            "x-http-method-overrides=x",
            "data-x-http-method=x",
            "shareData={\"_method\":1}",
            // Bodies without a type are searched too, and may be JSON.
            "{\"method\":\"x\"}",
            "[{\"a\":1,\"method\":2}]",
            "_=1&a",
        ] {
            assert!(in_parameters(pairs.as_bytes()).is_none(), "{pairs}");
        }
    }

    #[test]
    fn a_body_in_pieces_is_read_like_a_whole_one() {
        for body in ["_method=DELETE", "a=1&_method=x&b=2", "x=1;X-HTTP-Method-Override=PUT", "=&&;_method&a"] {
            for length in 1..body.len() {
                let mut screen = Screen::default();
                assert!(body.as_bytes().chunks(length).any(|piece| screen.finds(piece)), "{body} by {length}");
            }
        }
        for body in ["a=_method&b", "method=DELETE&x==_method=1", "\0\u{1}PNG&;;&_=_method=", "_metho&d=1&x=_method"] {
            for length in 1..body.len() {
                let mut screen = Screen::default();
                assert!(!body.as_bytes().chunks(length).any(|piece| screen.finds(piece)), "{body} by {length}");
            }
        }
        let mut screen = Screen::default();
        assert!(!(0..100).any(|_| screen.finds(&[0; 10_000])) && screen.name.len() == Screen::LONGEST);
    }

    #[test]
    fn parts_are_found_by_their_names() {
        let part = |name: &str| format!("--x\r\nContent-Disposition: form-data; {name}\r\n\r\nDELETE\r\n--x--\r\n");
        for name in
            ["name=\"_method\"", "NAME = _method", "name*=utf-8''_method", "name=\"a\"; name=\"request[_method]\""]
        {
            assert!(in_parts(part(name).as_bytes()).is_some(), "{name}");
        }
        for name in ["name=\"method\"", "name=\"file\"; filename=\"a.txt\"", "name=", "name"] {
            assert!(in_parts(part(name).as_bytes()).is_none(), "{name}");
        }
        assert!(in_parts(part("name=\"a\"").replace("DELETE", "name=\"\r\n; name=\"_method\"").as_bytes()).is_some());
        // Megabytes of names take no longer than other megabytes.
        for pattern in ["name=", "name=\"", "name", "name=\"name="] {
            assert!(in_parts(pattern.repeat(200_000).as_bytes()).is_none(), "{pattern}");
        }
    }

    #[test]
    fn fields_are_found_in_every_spelling() {
        for name in ["x-http-method-override", "x_http_method_override", "x-original-url", "_method", "x-http_method"] {
            assert!(is_override(name), "{name}");
        }
        for name in ["accept", "x-method", "method", "x-http-methods", "x-original-urls", "x-forwarded-host"] {
            assert!(!is_override(name), "{name}");
        }
    }

    #[test]
    fn a_long_name_is_read_whole_and_shown_short() {
        let hidden = format!("_met{}hod=x", "%E2%80%8B".repeat(100_000));
        let found = in_parameters(hidden.as_bytes()).expect("it is one");
        assert!(found.parameter.len() < 1000, "{}", found.parameter.len());
        assert!(in_parameters("a.".repeat(1_000_000).as_bytes()).is_none());
        assert!(in_parameters(".".repeat(2_000_000).as_bytes()).is_none());
    }
}
