//! Checks a request's head before hyper parses it.
//!
//! hyper tolerates what RFC 9112 lets a server tolerate: a bare LF for CRLF, a body with both kinds of length. A proxy
//! in front of the gateway may have read the same bytes differently, so this parser tolerates nothing. An accepted head
//! has only one meaning, and says where the request ends.

use http::Uri;
use memchr::memchr;

use super::{
    HeadLimits,
    framing::Framing,
    grammar::{is_host, is_plain, is_tchar, trim_blanks},
};
use crate::message::{
    list::{Quotes, split},
    protocol::ProtocolFault::{self, Expectation, HeadTooLarge, Malformed, TargetTooLong, TransferCoding, Version},
};

/// "A server SHOULD ignore at least one empty line received prior to the request line" (RFC 9112 section 2.2).
const EMPTY_LINES: u8 = 2;

/// Longer than every method of Zoho and of the IANA registry, in bytes.
const LONGEST_METHOD: usize = 64;

/// The longest target that the `http` crate can hold.
const LONGEST_TARGET: usize = u16::MAX as usize - 1;

/// An accepted head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its length in bytes, with the empty line that ends it.
    pub(super) length: usize,
    /// How its body ends.
    pub(super) framing: Framing,
    /// What changes before hyper gets it.
    pub(super) rewrite: Rewrite,
}

/// Changes to a head that hyper would otherwise reject or misread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rewrite {
    /// Where the request line ends, if it has a `"`.
    pub(super) quoted: Option<usize>,
    /// Whether the Expect fields have `100-continue`, if they are a list: hyper knows only that single value.
    pub(super) expects: Option<bool>,
}

/// Parses one head as more of its bytes arrive, and looks at each byte once.
#[derive(Debug, Default)]
pub(super) struct HeadParser {
    /// Where the first incomplete line begins.
    line: usize,
    /// Up to where that line was searched for its end.
    searched: usize,
    empty_lines: u8,
    stage: Stage,
    fields: usize,
    http_10: bool,
    rewrite: Rewrite,
    has_expect: bool,
    has_host: bool,
    has_content_type: bool,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    RequestLine,
    Fields,
}

impl HeadParser {
    /// Parses `bytes`, all that have arrived since the head's first byte. `None` for an incomplete head.
    pub(super) fn parse(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<Option<Head>, ProtocolFault> {
        if bytes.first().is_some_and(|&first| !is_tchar(first) && first != b'\r' && first != b'\n') {
            // Such bytes may have no line end at all, for example a TLS ClientHello.
            return Err(Malformed("this is not the beginning of an HTTP request; is the client speaking TLS?"));
        }
        while let Some(end) = memchr(b'\n', &bytes[self.searched..]).map(|end| self.searched + end) {
            self.within(end + 1, limits)?;
            let line = bytes[self.line..end].strip_suffix(b"\r").ok_or(BARE_LF)?;
            self.line = end + 1;
            self.searched = self.line;
            match self.stage {
                Stage::RequestLine if line.is_empty() && self.empty_lines < EMPTY_LINES => self.empty_lines += 1,
                Stage::RequestLine => {
                    self.request_line(line)?;
                    self.rewrite.quoted = line.contains(&b'"').then_some(end);
                    self.stage = Stage::Fields;
                }
                Stage::Fields if line.is_empty() => {
                    let framing = self.framing()?;
                    return Ok(Some(Head { length: self.line, framing, rewrite: self.rewrite }));
                }
                Stage::Fields => self.field(line, limits)?,
            }
        }
        self.searched = bytes.len();
        self.within(bytes.len() + 1, limits)?;
        Ok(None)
    }

    fn within(&self, length: usize, limits: HeadLimits) -> Result<(), ProtocolFault> {
        match self.stage {
            _ if length <= limits.bytes => Ok(()),
            Stage::RequestLine => Err(TargetTooLong),
            Stage::Fields => Err(HeadTooLarge),
        }
    }

    /// `METHOD SP TARGET SP VERSION` (RFC 9112 section 3).
    fn request_line(&mut self, line: &[u8]) -> Result<(), ProtocolFault> {
        const SHAPE: ProtocolFault =
            Malformed("expected METHOD, target and version with one space between each in the request line");
        let mut parts = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SHAPE);
        };
        match version {
            b"HTTP/1.1" => {}
            b"HTTP/1.0" => self.http_10 = true,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                return Err(Version);
            }
            _ => return Err(SHAPE),
        }
        if method.is_empty() || method.len() > LONGEST_METHOD || !method.iter().copied().all(is_tchar) {
            return Err(Malformed("the method is not a token (RFC 9110 section 5.6.2)"));
        }
        if target.len() > LONGEST_TARGET {
            return Err(TargetTooLong);
        }
        match target {
            [b'/', ..] if target.iter().copied().all(is_plain) => Ok(()),
            _ => unusual_target(method, target),
        }
    }

    /// `name: value` (RFC 9112 section 5, RFC 9110 section 5.5).
    fn field(&mut self, line: &[u8], limits: HeadLimits) -> Result<(), ProtocolFault> {
        self.fields += 1;
        if self.fields > limits.fields {
            return Err(HeadTooLarge);
        }
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Malformed("a header field is folded over several lines, which RFC 9112 no longer allows"));
        }
        let colon = memchr(b':', line).ok_or(Malformed("a header field has no colon"))?;
        let (name, value) = (&line[..colon], trim_blanks(&line[colon + 1..]));
        if name.is_empty() || !name.iter().copied().all(is_tchar) {
            return Err(Malformed("a header field's name is not a token, or a space is before its colon"));
        }
        if value.iter().any(|&byte| byte != b'\t' && (byte < b' ' || byte == 0x7F)) {
            return Err(Malformed("a header field's value has a control character"));
        }
        match name {
            name if name.eq_ignore_ascii_case(b"host") => self.host(value),
            // Of several fields, servers use different ones.
            name if name.eq_ignore_ascii_case(b"content-type") => {
                once(&mut self.has_content_type, "expected one Content-Type field, found several")
            }
            name if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            name if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value),
            name if name.eq_ignore_ascii_case(EXPECT) => self.expect(value),
            _ => Ok(()),
        }
    }

    /// Accepts one field, which holds a host and perhaps a port (RFC 9112 section 3.2).
    fn host(&mut self, value: &[u8]) -> Result<(), ProtocolFault> {
        once(&mut self.has_host, "expected one Host field, found several")?;
        if is_host(value) { Ok(()) } else { Err(Malformed("the Host field does not hold a host")) }
    }

    /// Accepts a list of expectations (RFC 9110 sections 10.1.1 and 5.6.1), perhaps in several fields, and skips empty
    /// members.
    fn expect(&mut self, value: &[u8]) -> Result<(), ProtocolFault> {
        let is_known = |member: &[u8]| {
            let name = member.split(|&byte| byte == b';').next().unwrap_or_default();
            trim_blanks(name).eq_ignore_ascii_case(CONTINUE)
        };
        let mut members = split(value, Quotes::Tokens);
        let continues = members.clone().next().is_some();
        if !members.all(is_known) {
            return Err(Expectation);
        }
        let had_one = std::mem::replace(&mut self.has_expect, true);
        if had_one || !value.eq_ignore_ascii_case(CONTINUE) {
            // A single `100-continue` before this field was not yet noted as a list.
            let earlier = self.rewrite.expects.unwrap_or(had_one);
            self.rewrite.expects = Some(earlier || continues);
        }
        Ok(())
    }

    /// Accepts digits, in one field (RFC 9110 section 8.6). An intermediary that joined repeated values, even equal
    /// ones, may find another end of the body.
    fn content_length(&mut self, value: &[u8]) -> Result<(), ProtocolFault> {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|value| value.parse().ok());
        let length = length.ok_or(Malformed("Content-Length is not a number of bytes"))?;
        if self.length.replace(length).is_some() {
            return Err(Malformed("expected one Content-Length field, found several"));
        }
        Ok(())
    }

    /// Accepts `chunked`, in one field (RFC 9112 section 6.1).
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), ProtocolFault> {
        once(&mut self.chunked, "expected one Transfer-Encoding field, found several")?;
        if value.eq_ignore_ascii_case(b"chunked") {
            return Ok(());
        }
        let mut codings = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        if codings.next_back().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked")) && !value.contains(&b';') {
            return Err(TransferCoding);
        }
        Err(Malformed("the last transfer coding of a request must be chunked, because otherwise its end is unknown"))
    }

    /// How the body ends, once all fields are known (RFC 9112 section 6.3).
    fn framing(&self) -> Result<Framing, ProtocolFault> {
        if !self.has_host && !self.http_10 {
            return Err(Malformed("expected a Host field"));
        }
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Malformed("the body has both a Transfer-Encoding and a Content-Length")),
            (true, None) if self.http_10 => Err(Malformed("HTTP/1.0 has no Transfer-Encoding")),
            (true, None) => Ok(Framing::chunked()),
            (false, length) => Ok(Framing::Length(length.unwrap_or_default())),
        }
    }
}

/// Rejects a second field of a kind that a head may have once.
fn once(seen: &mut bool, several: &'static str) -> Result<(), ProtocolFault> {
    if std::mem::replace(seen, true) { Err(Malformed(several)) } else { Ok(()) }
}

const EXPECT: &[u8] = b"expect";
const CONTINUE: &[u8] = b"100-continue";

const BARE_LF: ProtocolFault = Malformed("a line ends with a bare LF instead of CRLF");

/// Checks a target of a rare form or with rare bytes, because hyper would reject it without an answer.
fn unusual_target(method: &[u8], target: &[u8]) -> Result<(), ProtocolFault> {
    const INVALID: ProtocolFault =
        Malformed("the target has none of the forms of RFC 9112; percent-encode characters that a URI cannot have");
    if target.contains(&b'#') {
        // `Uri` would silently drop it.
        return Err(Malformed("the target has a fragment (#), which is never sent; write # as %23"));
    }
    // `Uri` accepts UTF-8, but RFC 3986 section 2 does not, and servers read it differently or reject it.
    if !target.is_ascii() {
        return Err(INVALID);
    }
    // The four forms of RFC 9112 section 3.2: origin, asterisk, absolute, authority.
    let absolute = || target.windows(3).any(|bytes| bytes == b"://");
    if !(matches!(target, [b'/', ..] | b"*") || method == b"CONNECT" || absolute()) {
        return Err(INVALID);
    }
    // RFC 3986 does not allow `"` either, but it has only one meaning and is encoded before hyper sees it.
    let encoded: Vec<u8> = target.iter().flat_map(encoded).copied().collect();
    let uri = Uri::try_from(encoded).map_err(|_| INVALID)?;
    let known = |scheme: &str| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    if uri.scheme_str().is_none_or(known) { Ok(()) } else { Err(INVALID) }
}

impl Rewrite {
    /// A complete head as hyper gets it.
    pub(super) fn apply(self, head: &[u8]) -> Vec<u8> {
        let (line, fields) = head.split_at(self.quoted.unwrap_or_default());
        let line = line.iter().flat_map(encoded).copied();
        let Some(continues) = self.expects else { return line.chain(fields.iter().copied()).collect() };
        let mut head: Vec<u8> = line.collect();
        let is_expect =
            |line: &[u8]| memchr(b':', line).is_some_and(|colon| line[..colon].eq_ignore_ascii_case(EXPECT));
        let fields = fields.strip_suffix(b"\r\n").unwrap_or(fields);
        for line in fields.split_inclusive(|&byte| byte == b'\n').filter(|line| !is_expect(line)) {
            head.extend_from_slice(line);
        }
        if continues {
            head.extend_from_slice(b"Expect: 100-continue\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// A byte of a request line as hyper gets it.
fn encoded(byte: &u8) -> &[u8] {
    if *byte == b'"' { b"%22" } else { std::slice::from_ref(byte) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 256, fields: 4 };

    fn parsed(text: &str) -> Result<Option<Head>, ProtocolFault> {
        HeadParser::default().parse(text.as_bytes(), LIMITS)
    }

    fn accepted(text: &str) -> Head {
        parsed(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}")).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn finds_the_end_of_a_request() {
        for (fields, framing) in [
            ("Host: a", Framing::Length(0)),
            ("host:a\r\nContent-Length:  12 ", Framing::Length(12)),
            ("Host: a:80\r\nTransfer-Encoding: Chunked", Framing::chunked()),
            ("Host: [::1]:80\r\nX: \u{e9}\t\"'", Framing::Length(0)),
            ("Host:\r\nExpect: 100-Continue", Framing::Length(0)),
        ] {
            let head = format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n");
            let expected = Head { length: head.len(), framing, rewrite: Rewrite::default() };
            assert_eq!(accepted(&format!("{head}body")), expected, "{head}");
        }
        assert_eq!(accepted("GET / HTTP/1.0\r\n\r\n").length, 18);
        assert_eq!(accepted("\r\n\r\nGET / HTTP/1.0\r\n\r\n").length, 22);
        assert_eq!(accepted("\r\nGET /?a={\"b\":1} HTTP/1.0\r\n\r\n").rewrite.quoted, Some(27));
        assert_eq!(accepted("GET / HTTP/1.0\r\nX: \"\r\n\r\n").rewrite.quoted, None);
    }

    #[test]
    fn hyper_gets_a_list_of_expectations_as_one_value() {
        for (fields, continues) in [
            ("Expect:", false),
            ("Expect: ", false),
            ("Expect: , ,", false),
            ("Expect:\r\nExpect:", false),
            ("Expect: 100-continue, 100-continue", true),
            ("Expect: ,100-continue", true),
            ("Expect: 100-Continue ,\t", true),
            ("Expect: 100-continue;a=b", true),
            ("Expect: 100-continue\r\nexpect: 100-continue", true),
            ("Expect: 100-continue\r\nExpect:", true),
            ("Expect:\r\nExpect: 100-continue", true),
        ] {
            let head = format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\nX-Expect: 1\r\n\r\n");
            let rewrite = HeadParser::default().parse(head.as_bytes(), HeadLimits { fields: 9, ..LIMITS });
            let rewrite = rewrite.unwrap().unwrap().rewrite;
            assert_eq!(rewrite, Rewrite { quoted: None, expects: Some(continues) }, "{fields}");
            let one = if continues { "Expect: 100-continue\r\n" } else { "" };
            let expected = format!("POST /a HTTP/1.1\r\nHost: a\r\nX-Expect: 1\r\n{one}\r\n");
            assert_eq!(String::from_utf8(rewrite.apply(head.as_bytes())).unwrap(), expected);
        }
        let head = "GET /\"a\" HTTP/1.1\r\nHost: \r\nExpect:\r\n\r\n";
        let seen = accepted(head).rewrite.apply(head.as_bytes());
        assert_eq!(String::from_utf8(seen).unwrap(), "GET /%22a%22 HTTP/1.1\r\nHost: \r\n\r\n");
    }

    #[test]
    fn only_a_host_is_accepted_as_host() {
        for host in ["", "a", "a.b.", "a_b-c.d", "127.0.0.1", "a:80", "a:", "[::1]", "[::1]:80", "localhost:65535"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a b", "a@b", "a/b", "a,b", "a..b", ".a", "a:b", "a:-1", "a:+1", "a:65536", "a:1:2", "[::1", "::1", "[a",
            "[g]", ":80", "[::1]a", "%61", "a%", ".", "[::1]:x",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn a_head_in_pieces_has_the_same_end() {
        let whole = "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        let mut parser = HeadParser::default();
        for end in 0..whole.len() {
            assert_eq!(parser.parse(&whole.as_bytes()[..end], LIMITS), Ok(None), "{end}");
        }
        assert_eq!(parser.parse(whole.as_bytes(), LIMITS), Ok(Some(accepted(whole))));
    }

    #[test]
    fn ambiguous_and_malformed_heads_are_rejected() {
        let of_fields = |fields: &str| parsed(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"));
        for fields in [
            "Host: a",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length: 0x1",
            "Content-Length:",
            "Content-Length: 18446744073709551616",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: chunked, gzip",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding:\u{b}chunked",
            "Transfer-Encoding : chunked",
            "X: a\r\n b",
            "X\r\n",
            ": a",
            "Content-Type: a/b\r\nContent-Type: a/b",
            "X: a\0b",
            "X: a\rb",
            "X: a\r",
            "X:\ra",
            "X: a\u{c}",
            "Content-Length: 1\r",
            "X: a\nY: b",
        ] {
            assert!(matches!(of_fields(fields), Err(Malformed(_))), "{fields}: {:?}", of_fields(fields));
        }
        for line in [
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET /",
            "GET / HTTP/1.1 ",
            "GET / HTTP/11",
            "GET / http/1.1",
            "G[T / HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET /\u{7f} HTTP/1.1",
            "GET /a<b HTTP/1.1",
            "GET a/b HTTP/1.1",
            " GET / HTTP/1.1",
            "\u{16}\u{3}\u{1}",
        ] {
            let head = format!("{line}\r\nHost: a\r\n\r\n");
            assert!(matches!(parsed(&head), Err(Malformed(_))), "{line}: {:?}", parsed(&head));
        }
        assert_eq!(parsed("GET / HTTP/1.1\nHost: a\n\n"), Err(BARE_LF));
        assert!(parsed("GET / HTTP/1.1\r\n\r\n").is_err(), "HTTP/1.1 requires a Host");
        assert!(parsed("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn unsupported_features_have_their_own_faults() {
        let of_fields = |fields: &str| parsed(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"));
        assert_eq!(of_fields("Transfer-Encoding: gzip, chunked"), Err(TransferCoding));
        for expectation in ["magic", "100-continue, magic", ",magic,", "100-continue=1", "100", "100-continue x", ";"] {
            assert_eq!(of_fields(&format!("Expect: {expectation}")), Err(Expectation), "{expectation}");
        }
        assert_eq!(of_fields("Expect: 100-continue\r\nEXPECT: magic"), Err(Expectation));
        assert_eq!(parsed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Err(Version));
        assert_eq!(parsed("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), Err(Version));
    }

    #[test]
    fn oversized_heads_are_rejected() {
        let line = |length| format!("GET /{} HTTP/1.1\r\n", "a".repeat(length));
        assert_eq!(parsed(&line(400)), Err(TargetTooLong));
        assert_eq!(parsed(&line(400)[..300]), Err(TargetTooLong), "without waiting for its end");
        assert_eq!(parsed(&format!("{}Host: a\r\n\r\n", line(235))), Err(HeadTooLarge));
        assert_eq!(parsed(&format!("{}X: {}", line(1), "a".repeat(256))), Err(HeadTooLarge));
        let fields = |count| format!("{}Host: a\r\n{}\r\n", line(1), "X: 1\r\n".repeat(count));
        accepted(&fields(3));
        assert_eq!(parsed(&fields(4)), Err(HeadTooLarge));
    }
}
