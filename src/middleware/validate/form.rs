//! Whether a server may read a body as a form.
//!
//! Servers cut a media type at a semicolon, a comma or a blank, take the first or the last of a list, or search it for
//! a word, and take a body without a type for the type they expect. So the gateway checks a body as a form if any of
//! them may read it as one. A body that names another type (JSON, multipart, a file) is not a form.

/// Whether a server may read a body of this `Content-Type` as an urlencoded form; `None`: the header is absent.
pub(super) fn may_be_one(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else { return true };
    let lower = content_type.to_ascii_lowercase();
    lower.contains("urlencoded")
        || lower.contains("url-encoded")
        || lower.contains("x-www-form")
        || !names_a_type(&lower)
}

/// Whether a server may read a body of this `Content-Type` as a multipart form.
pub(super) fn may_be_multipart(content_type: &str) -> bool {
    content_type.to_ascii_lowercase().contains("multipart")
}

/// Whether it names JSON: `application/json`, `application/vnd.api+json`.
pub(super) fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.ends_with("/json") || kind.ends_with("+json")
}

/// The boundary of a `multipart/form-data` body (RFC 2046 section 5.1.1).
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    const NAME: &str = "boundary=";
    let at = content_type.to_ascii_lowercase().find(NAME)?;
    let value = content_type.get(at + NAME.len()..)?;
    let boundary = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => value.split([';', ' ', ',']).next()?,
    };
    (may_be_multipart(content_type) && !boundary.is_empty()).then_some(boundary)
}

/// Whether it begins with a type and a subtype (RFC 9110 section 8.3.1); any other value counts as absent.
pub(super) fn names_a_type(content_type: &str) -> bool {
    let kind = content_type.trim_start_matches([' ', '\t', '"']);
    let kind = kind.split([';', ',', ' ', '\t', '"']).next().unwrap_or_default();
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    kind.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_json_and_the_boundary() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"] {
            assert!(is_json(json), "{json}");
        }
        assert!(!is_json("text/plain; a=/json") && !is_json("application/jsonp"));
        for (content_type, expected) in [
            ("multipart/form-data; boundary=----x9", Some("----x9")),
            ("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"; x=y", Some("a b")),
            ("multipart/form-data; boundary=x;y=z", Some("x")),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data", None),
            ("text/plain; boundary=x", None),
        ] {
            assert_eq!(boundary(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn recognises_every_type_that_servers_read_as_a_form() {
        assert!(may_be_one(None));
        for content_type in [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-URLEncoded",
            "application/x-www-form-urlencoded; charset=utf-8",
            "application/x-www-form-urlencoded;",
            "application/x-www-form-urlencoded foo",
            "application/x-www-form-urlencoded\tfoo",
            "application/x-www-form-urlencoded,text/plain",
            "text/plain, application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x, application/x-www-form-urlencoded",
            "text/plain; a=application/x-www-form-urlencoded",
            "\"application/x-www-form-urlencoded\"",
            " application/x-www-form-urlencoded ",
            "x-www-form-urlencoded",
            "application/www-form-urlencoded",
            "application/x-url-encoded",
            // No type at all.
            "",
            " ",
            ";charset=utf-8",
            ", text/plain",
            "json",
            "application/",
            "/json",
            "*/*",
            "application/*",
            "\u{fffd}/\u{fffd}",
        ] {
            assert!(may_be_one(Some(content_type)), "{content_type}");
        }
        for content_type in [
            "application/json",
            "application/json; charset=utf-8",
            "application/problem+json",
            "multipart/form-data; boundary=----x",
            "multipart/form-data boundary=x",
            "application/octet-stream",
            "text/plain;charset=UTF-8",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "image/svg+xml",
        ] {
            assert!(!may_be_one(Some(content_type)), "{content_type}");
        }
    }
}
