//! The end of an answer by its fields (RFC 9112 section 6.3). hyper uses the fields and leaves them unchanged. Passed on like
//! that, they could give the caller another end than the one that hyper found.

use http::{HeaderValue, StatusCode, Version, header, response::Parts};

/// Why the end of an answer is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unframed {
    /// hyper removes the coding without decoding it, or reads to the end of the connection.
    #[error("a transfer coding other than chunked")]
    TransferCoding,
    #[error("Content-Length is not a single number of bytes")]
    Length,
}

/// Leaves one `Content-Length`, or none next to a `Transfer-Encoding`, which overrides it.
pub(super) fn settle(head: &mut Parts) -> Result<(), Unframed> {
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        // HTTP/1.0 does not know it (section 6.1).
        let known = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && head.version >= Version::HTTP_11;
        let chunked = known && codings.next().is_none();
        head.headers.remove(header::CONTENT_LENGTH);
        return if chunked { Ok(()) } else { Err(Unframed::TransferCoding) };
    }
    let lines = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let lengths = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(number);
    let agreed = lengths.reduce(|one, other| one.filter(|_| one == other));
    match agreed {
        None => Ok(()),
        // Such an answer has no content (RFC 9110 section 8.6).
        Some(Some(_)) if head.status == StatusCode::NO_CONTENT => {
            head.headers.remove(header::CONTENT_LENGTH);
            Ok(())
        }
        Some(Some(length)) => {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            Ok(())
        }
        Some(None) => {
            head.headers.remove(header::CONTENT_LENGTH);
            Err(Unframed::Length)
        }
    }
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    digits.iter().all(u8::is_ascii_digit).then_some(std::str::from_utf8(digits).ok()?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, Response};

    use super::*;

    #[test]
    fn an_answer_has_exactly_one_end() {
        const CODED: Result<&str, Unframed> = Err(Unframed::TransferCoding);
        const LENGTH: Result<&str, Unframed> = Err(Unframed::Length);
        for (fields, expected) in [
            (&[][..], Ok("")),
            (&[("content-length", "2")], Ok("2")),
            (&[("content-length", "2, 2")], Ok("2")),
            (&[("content-length", "2"), ("content-length", "2")], Ok("2")),
            (&[("content-length", "0002")], Ok("2")),
            (&[("content-length", "2, 3")], LENGTH),
            (&[("content-length", "2"), ("content-length", "3")], LENGTH),
            (&[("content-length", "3"), ("content-length", "")], LENGTH),
            (&[("content-length", "")], LENGTH),
            (&[("content-length", "+2")], LENGTH),
            (&[("content-length", "99999999999999999999")], LENGTH),
            (&[("transfer-encoding", "chunked")], Ok("")),
            (&[("transfer-encoding", "Chunked"), ("content-length", "5")], Ok("")),
            (&[("content-length", "5"), ("transfer-encoding", "chunked")], Ok("")),
            (&[("transfer-encoding", "gzip, chunked")], CODED),
            (&[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")], CODED),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], CODED),
            (&[("transfer-encoding", "xchunked")], CODED),
            (&[("transfer-encoding", "identity"), ("content-length", "5")], CODED),
        ] {
            let name = |name: &'static str| HeaderName::from_static(name);
            let mut head = Response::new(()).into_parts().0;
            head.headers = fields
                .iter()
                .map(|&(field, value)| (name(field), HeaderValue::from_static(value)))
                .collect::<HeaderMap>();
            let settled = settle(&mut head);
            let mut left = head.headers.get_all(header::CONTENT_LENGTH).iter();
            let length = left.next().map_or("", |length| length.to_str().expect("digits"));
            assert_eq!(settled.map(|()| length), expected, "{fields:?}");
            assert!(left.next().is_none() && (settled.is_ok() || length.is_empty()), "{fields:?}");
        }
        let old = Response::builder().version(Version::HTTP_10).header("transfer-encoding", "chunked");
        let mut head = old.body(()).expect("a head").into_parts().0;
        assert_eq!(settle(&mut head), Err(Unframed::TransferCoding));
    }
}
