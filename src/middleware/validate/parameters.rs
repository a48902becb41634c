//! A strict decoder of `application/x-www-form-urlencoded`, for queries and form bodies.
//!
//! The decoder of the URL standard never fails: it keeps a broken `%zz` and replaces bytes that are not UTF-8. Here
//! both are faults: Zoho's decoder may repair them in another way than ours, and then Zoho would not use the value we
//! checked.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::zoho::catalogue::Place;

use super::{findings::Findings, wording};

/// One parameter of the request whose name could be decoded.
#[derive(Debug)]
pub(super) struct Given<'a> {
    /// The name, decoded.
    pub(super) name: Cow<'a, str>,
    /// The value, decoded; `None` if it cannot be decoded, which is reported.
    pub(super) value: Option<Cow<'a, str>>,
    /// Whether it is in the query or in the form.
    pub(super) place: Place,
    /// Whether the value contained a `+`, which is decoded to a space.
    pub(super) had_plus: bool,
}

/// Decodes the query, then the form, and reports everything that cannot be decoded.
pub(super) fn read<'a>(query: Option<&'a str>, form: Option<&'a [u8]>, findings: &mut Findings) -> Vec<Given<'a>> {
    let query = query.map_or(&[][..], str::as_bytes);
    let form = form.unwrap_or_default();
    pieces(query)
        .map(|piece| (Place::Query, piece))
        .chain(pieces(form).map(|piece| (Place::Form, piece)))
        .filter_map(|(place, piece)| read_piece(place, piece, findings))
        .collect()
}

/// The pieces between ampersands, without empty ones as in `a&&b`.
fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'&').filter(|piece| !piece.is_empty())
}

fn read_piece<'a>(place: Place, piece: &'a [u8], findings: &mut Findings) -> Option<Given<'a>> {
    let (name, value) = match piece.iter().position(|&byte| byte == b'=') {
        Some(at) => (&piece[..at], &piece[at + 1..]),
        None => (piece, &[][..]),
    };
    let name = match decode(name) {
        Ok(name) => name,
        Err(problem) => {
            let lossy = percent_decode(name).decode_utf8_lossy();
            findings.about(&wording::name(&lossy)).add("", format!("expected a name that decodes, but {problem}"));
            return None;
        }
    };
    let had_plus = value.contains(&b'+');
    let value = match decode(value) {
        Ok(value) => Some(value),
        Err(problem) => {
            findings.about(&wording::name(&name)).add("", format!("expected a value that decodes, but {problem}"));
            None
        }
    };
    Some(Given { name, value, place, had_plus })
}

/// Why a name or a value cannot be decoded.
#[derive(Debug, thiserror::Error)]
enum Undecodable {
    #[error("{0} is not a percent sign with two hexadecimal digits (a percent sign itself is written %25)")]
    Escape(String),
    #[error("its bytes, after percent-decoding, are not UTF-8")]
    Utf8,
}

fn decode(text: &[u8]) -> Result<Cow<'_, str>, Undecodable> {
    if let Some(broken) = broken_escape(text) {
        return Err(Undecodable::Escape(wording::quoted(&String::from_utf8_lossy(broken))));
    }
    let decoded = if text.contains(&b'+') {
        // Before decoding, so that an encoded plus (%2B) stays a plus.
        let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        Cow::Owned(percent_decode(&spaced).collect())
    } else {
        Cow::from(percent_decode(text))
    };
    match decoded {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| Undecodable::Utf8),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Undecodable::Utf8),
    }
}

/// The first percent sign without two hexadecimal digits after it, with the two bytes that follow.
fn broken_escape(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        match rest[at + 1..] {
            [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest = &rest[at + 3..],
            _ => return Some(&rest[at..rest.len().min(at + 3)]),
        }
    }
    None
}
