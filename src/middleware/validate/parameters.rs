//! The parameters of a request, wherever they are: the query, and a body as [`Content`].
//!
//! Queries and forms are read by a strict decoder of `application/x-www-form-urlencoded`. The decoder of the URL standard never fails: it keeps a broken `%zz` and replaces bytes that are not UTF-8. Here
//! both are faults: Zoho's decoder may repair them in another way than ours, and then Zoho would not use the value we
//! checked.

use std::borrow::Cow;

use crate::zoho::catalogue::Place;
use percent_encoding::percent_decode;

use super::{
    content::{Content, Value},
    findings::Findings,
    json, multipart, wording,
};

/// One parameter of the request whose name could be decoded.
#[derive(Debug)]
pub(super) struct Given<'a> {
    /// The name, decoded.
    pub(super) name: Cow<'a, str>,
    pub(super) value: Value<'a>,
    /// The part of the request that has it.
    pub(super) place: Place,
    /// Whether the value contained a `+`, which is decoded to a space.
    pub(super) had_plus: bool,
}

/// All parameters of a request.
pub(super) struct Request<'a> {
    pub(super) given: Vec<Given<'a>>,
    /// Whether there is a body whose parameters are unknown: it streams, or it is of another type.
    pub(super) is_opaque: bool,
}

/// Reads the query, then the body, and reports everything that cannot be decoded.
pub(super) fn read<'a>(query: Option<&'a str>, body: Content<'a>, findings: &mut Findings) -> Request<'a> {
    let query = pieces(query.map_or(&[][..], str::as_bytes)).map(|piece| (Place::Query, piece));
    let form = match body {
        Content::Form(form) => form,
        _ => &[],
    };
    let pairs = query.chain(pieces(form).map(|piece| (Place::Form, piece)));
    let mut given: Vec<_> = pairs.filter_map(|(place, piece)| read_piece(place, piece, findings)).collect();
    let rest = match body {
        Content::None | Content::Form(_) => Some(Vec::new()),
        Content::Json(text) => std::str::from_utf8(text).ok().and_then(json::members).map(|members| {
            let member = |(name, raw)| (Cow::Owned(name), Value::Json(raw), Place::Json);
            members.into_iter().map(member).collect()
        }),
        Content::Multipart { body, boundary } => multipart::parts(body, boundary)
            .map(|parts| parts.into_iter().map(|part| (Cow::Owned(part.name), part.value, Place::Multipart)).collect()),
        Content::Opaque { .. } => None,
    };
    let is_opaque = rest.is_none();
    let rest = rest.unwrap_or_default().into_iter();
    given.extend(rest.map(|(name, value, place)| Given { name, value, place, had_plus: false }));
    Request { given, is_opaque }
}

// === impl Given ===

impl Given<'_> {
    /// The value as a word that a condition can compare; JSON's strings without escapes and its booleans are words too.
    pub(super) fn word(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Json(raw) => {
                let quoted = raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                Some(quoted.unwrap_or(raw.get())).filter(|word| !word.contains(['\\', '{', '[']))
            }
            Value::File(_) | Value::Undecodable => None,
        }
    }
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
        Ok(value) => Value::Text(value),
        Err(problem) => {
            findings.about(&wording::name(&name)).add("", format!("expected a value that decodes, but {problem}"));
            Value::Undecodable
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
