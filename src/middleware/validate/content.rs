//! A body as the rules see it, and what a parameter in it holds.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::form;

/// What is known of a body.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// There is none.
    None,
    /// A form (`application/x-www-form-urlencoded`), as received.
    Form(&'a [u8]),
    /// A JSON body.
    Json(&'a [u8]),
    /// A `multipart/form-data` body (RFC 7578).
    Multipart {
        /// The whole body, as received.
        body: &'a [u8],
        /// What separates its parts.
        boundary: &'a str,
    },
    /// A body that is not read: it streams, it is compressed, or it is of another type.
    Opaque {
        /// Its length in bytes, if it is a `multipart/form-data` body that says so.
        of_parts: Option<u64>,
    },
}

/// What a parameter holds.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// Text, decoded.
    Text(Cow<'a, str>),
    /// The JSON below a key of a JSON body.
    Json(&'a RawValue),
    /// A file of this many bytes.
    File(usize),
    /// A value that cannot be decoded, which is reported.
    Undecodable,
}

impl<'a> Content<'a> {
    /// A whole body that is not compressed, by its `Content-Type`.
    pub(super) fn of(body: &'a [u8], content_type: &'a str) -> Self {
        if body.is_empty() {
            Self::None
        } else if form::is_json(content_type) {
            Self::Json(body)
        } else if let Some(boundary) = form::boundary(content_type) {
            Self::Multipart { body, boundary }
        } else {
            Self::Opaque { of_parts: None }
        }
    }
}

impl<'a> From<Option<&'a [u8]>> for Content<'a> {
    fn from(form: Option<&'a [u8]>) -> Self {
        form.map_or(Self::None, Self::Form)
    }
}
