//! Reading inside a compressed answer. The caller gets Zoho's bytes; only the gateway's own look is decoded.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// No error answer of Zoho's comes near this; more is not decoded, so a small answer cannot unfold into a large one.
const LARGEST: u64 = 64 * 1024;

/// The decoded body; `None` when its coding is unknown or broken.
pub(super) fn decode(coding: Option<&str>, body: &[u8]) -> Option<Vec<u8>> {
    match coding.unwrap_or("identity").trim().to_ascii_lowercase().as_str() {
        "identity" | "" => Some(body.to_vec()),
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(body)),
        // "deflate" is zlib (RFC 9110 section 8.4.1.2), but some servers send it raw.
        "deflate" => read(ZlibDecoder::new(body)).or_else(|| read(DeflateDecoder::new(body))),
        "br" => read(brotli_decompressor::Decompressor::new(body, 4096)),
        _ => None,
    }
}

fn read(decoder: impl Read) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    decoder.take(LARGEST).read_to_end(&mut decoded).ok()?;
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write};

    use super::*;

    const TEXT: &[u8] = br#"{"response":{"errors":{"code":7209},"status":1}}"#;

    #[test]
    fn decodes_what_callers_commonly_accept() {
        let mut gzip = write::GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(TEXT).unwrap();
        let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(TEXT).unwrap();
        let mut raw = write::DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(TEXT).unwrap();
        assert_eq!(decode(Some("gzip"), &gzip.finish().unwrap()).unwrap(), TEXT);
        assert_eq!(decode(Some("Deflate"), &zlib.finish().unwrap()).unwrap(), TEXT);
        assert_eq!(decode(Some("deflate"), &raw.finish().unwrap()).unwrap(), TEXT);
        assert_eq!(decode(None, TEXT).unwrap(), TEXT);
        // "code" in brotli, stored uncompressed: header, meta-block of four bytes, end.
        assert_eq!(decode(Some("br"), &[0x8b, 0x01, 0x80, b'c', b'o', b'd', b'e', 0x03]).unwrap(), b"code");
    }

    #[test]
    fn broken_or_unknown_codings_are_not_read() {
        for coding in ["gzip", "deflate", "br", "zstd", "compress"] {
            assert_eq!(decode(Some(coding), b"not compressed"), None, "{coding}");
        }
    }

    #[test]
    fn a_bomb_unfolds_only_so_far() {
        let mut gzip = write::GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&vec![0; 1 << 20]).unwrap();
        assert_eq!(decode(Some("gzip"), &gzip.finish().unwrap()).unwrap().len() as u64, LARGEST);
    }
}
