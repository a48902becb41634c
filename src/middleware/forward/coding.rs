//! Decodes compressed answers for the gateway's own use; the caller gets Zoho's bytes.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, HeaderValue, header};

/// Zoho's error answers are far smaller. Only this much is decoded, so a small answer cannot become a large one.
const LARGEST: u64 = 64 * 1024;

/// The codings that can be decoded.
const READABLE: [&str; 5] = ["identity", "gzip", "x-gzip", "deflate", "br"];

/// Removes the codings from `Accept-Encoding` that cannot be decoded, because such an answer could hide a lock.
pub(super) fn without_unreadable(headers: &mut HeaderMap) {
    let members = |value| HeaderValue::to_str(value).unwrap_or_default().split(',').map(str::trim);
    let asked = || headers.get_all(header::ACCEPT_ENCODING).iter().flat_map(members);
    if asked().all(is_readable) {
        return;
    }
    let kept: Vec<&str> = asked().filter(|member| is_readable(member)).collect();
    // An empty list means the same but is less common.
    let kept = if kept.is_empty() { "identity".to_owned() } else { kept.join(", ") };
    if let Ok(value) = kept.parse() {
        headers.insert(header::ACCEPT_ENCODING, value);
    }
}

fn is_readable(member: &str) -> bool {
    let coding = member.split(';').next().unwrap_or_default().trim_end();
    READABLE.iter().any(|known| coding.eq_ignore_ascii_case(known))
}

/// The decoded body; `None` when its coding is unknown or broken. Several codings are removed from the last to the first.
pub(super) fn decode(codings: &str, body: &[u8]) -> Option<Vec<u8>> {
    codings.rsplit(',').try_fold(body.to_vec(), |body, coding| without(coding.trim(), body))
}

fn without(coding: &str, body: Vec<u8>) -> Option<Vec<u8>> {
    match coding.to_ascii_lowercase().as_str() {
        "identity" | "" => Some(body),
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(&*body)),
        // "deflate" is zlib (RFC 9110 section 8.4.1.2), but some servers send it raw.
        "deflate" => read(ZlibDecoder::new(&*body)).or_else(|| read(DeflateDecoder::new(&*body))),
        "br" => read(brotli_decompressor::Decompressor::new(&*body, 4096)),
        _ => None,
    }
}

/// The part before an error counts too, because clients accept a stream without an end or with extra bytes after it.
fn read(decoder: impl Read) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let whole = decoder.take(LARGEST).read_to_end(&mut decoded).is_ok();
    (whole || !decoded.is_empty()).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write};

    use super::*;

    const TEXT: &[u8] = br#"{"response":{"errors":{"code":7209},"status":1}}"#;

    #[test]
    fn decodes_common_codings() {
        let mut gzip = write::GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(TEXT).unwrap();
        let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(TEXT).unwrap();
        let mut raw = write::DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(TEXT).unwrap();
        assert_eq!(decode("gzip", &gzip.finish().unwrap()).unwrap(), TEXT);
        assert_eq!(decode("Deflate", &zlib.finish().unwrap()).unwrap(), TEXT);
        assert_eq!(decode("deflate", &raw.finish().unwrap()).unwrap(), TEXT);
        assert_eq!(decode("", TEXT).unwrap(), TEXT);
        // "code" in brotli, stored uncompressed: header, meta-block of four bytes, end.
        assert_eq!(decode("br", &[0x8b, 0x01, 0x80, b'c', b'o', b'd', b'e', 0x03]).unwrap(), b"code");
    }

    #[test]
    fn a_damaged_stream_is_read_as_far_as_possible() {
        let mut gzip = write::GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(TEXT).unwrap();
        let whole = gzip.finish().unwrap();
        assert_eq!(decode("gzip", &whole[..whole.len() - 8]).unwrap(), TEXT);
        assert_eq!(decode("gzip", &[&whole[..], b"behind"].concat()).unwrap(), TEXT);
    }

    #[test]
    fn several_codings_are_removed_one_by_one() {
        let gzip = |bytes: &[u8]| {
            let mut gzip = write::GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(bytes).unwrap();
            gzip.finish().unwrap()
        };
        assert_eq!(decode("gzip, gzip", &gzip(&gzip(TEXT))).unwrap(), TEXT);
        assert_eq!(decode("gzip, zstd", &gzip(TEXT)), None);
    }

    #[test]
    fn asks_only_for_what_can_be_decoded() {
        for (asked, expected) in [
            (&["gzip, br"][..], &["gzip, br"][..]),
            (&["GZIP;q=0.5", "deflate"], &["GZIP;q=0.5", "deflate"]),
            (&["gzip, deflate, br, zstd"], &["gzip, deflate, br"]),
            (&["zstd", "br;q=1"], &["br;q=1"]),
            (&["*"], &["identity"]),
            (&["zstd"], &["identity"]),
            (&[], &[]),
        ] {
            let mut headers = HeaderMap::new();
            for value in asked {
                headers.append(header::ACCEPT_ENCODING, value.parse().unwrap());
            }
            without_unreadable(&mut headers);
            let kept: Vec<_> = headers.get_all(header::ACCEPT_ENCODING).iter().collect();
            assert_eq!(kept, expected, "{asked:?}");
        }
    }

    #[test]
    fn broken_or_unknown_codings_are_not_read() {
        for coding in ["gzip", "deflate", "br", "zstd", "compress"] {
            assert_eq!(decode(coding, b"not compressed"), None, "{coding}");
        }
    }

    #[test]
    fn a_decompression_bomb_is_decoded_up_to_the_limit() {
        let mut gzip = write::GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&vec![0; 1 << 20]).unwrap();
        assert_eq!(decode("gzip", &gzip.finish().unwrap()).unwrap().len() as u64, LARGEST);
    }
}
