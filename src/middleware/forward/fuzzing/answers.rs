//! Any answer can be read, a small one does not decode into a large one, and `zoho::reply` classifies it as documented.

use std::{io::Write, time::SystemTime};

use flate2::{Compression, write};
use http::{HeaderMap, StatusCode, header};

use super::super::coding;
use crate::zoho::reply::{self, fuzzing::reply};

/// The most that is decoded of an answer, in bytes.
const LARGEST: usize = 64 * 1024;

/// Reads a line with the status, one with `Content-Encoding` or a caller's `Accept-Encoding`, one with `Retry-After`, and
/// the rest as the body.
pub fn answers(data: &[u8]) {
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let (Some(status), Some(codings), Some(retry_after), Some(body)) =
        (lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return;
    };
    let (Ok(status), Ok(codings)) = (StatusCode::from_bytes(status), std::str::from_utf8(codings)) else { return };
    within_a_day(retry_after);
    can_be_read(codings);
    let decoded = coding::decode(codings, body);
    for body in decoded.iter().map(Vec::as_slice).chain([body]) {
        assert!(body.len() <= LARGEST.max(data.len()), "{} bytes", body.len());
        reply(status, body);
        survives_compression(body);
    }
}

fn within_a_day(retry_after: &[u8]) {
    let Ok(value) = retry_after.try_into() else { return };
    let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value)]);
    let span = reply::retry_after(&headers, SystemTime::UNIX_EPOCH);
    assert!(span.is_none_or(|span| span.as_secs() <= 24 * 3600), "{span:?}");
}

/// Only decodable codings of a caller's `Accept-Encoding` remain.
fn can_be_read(accepted: &str) {
    let Ok(accepted) = accepted.parse() else { return };
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_ENCODING, accepted);
    coding::without_unreadable(&mut headers);
    let asked = headers[header::ACCEPT_ENCODING].to_str().unwrap_or_default().to_ascii_lowercase();
    for member in asked.split(',') {
        let coding = member.split(';').next().unwrap_or_default().trim();
        assert!(["identity", "gzip", "x-gzip", "deflate", "br"].contains(&coding), "{asked}");
    }
}

fn survives_compression(body: &[u8]) {
    if body.len() < LARGEST {
        let mut gzip = write::GzEncoder::new(Vec::new(), Compression::fast());
        let written = gzip.write_all(body).and_then(|()| gzip.finish());
        let compressed = written.expect("memory does not fail");
        assert_eq!(coding::decode("gzip", &compressed).as_deref(), Some(body));
    }
}
