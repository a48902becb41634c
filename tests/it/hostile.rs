//! Hostile requests over raw sockets: each has one outcome, and none reaches Zoho in another form than the one that was
//! checked.
//!
//! Where an RFC lets a server reject or repair, the table rejects. It differs from what servers SHOULD do in one case:
//! another minor version of HTTP/1 is rejected, not read as 1.1 (RFC 9110 section 2.5), because no client has one and a
//! proxy in front of the gateway may have read it differently.

use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Gateway, Reply, Setup, Upstream, all, exchange, get, ms, prlimit, shell};

/// The outcome of a request.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// Rejected with this status and problem; nothing is sent.
    Rejected(u16, &'static str),
    /// Sent with this request line and body, and nothing else.
    Sent(&'static str, &'static str),
}

use Outcome::{Rejected, Sent};

const MALFORMED: Outcome = Rejected(400, "malformed-request");
const AMBIGUOUS: Outcome = Rejected(400, "invalid-payload");
const UNKNOWN: Outcome = Rejected(404, "unknown-route");
const FOREIGN: Outcome = Rejected(403, "foreign-origin");

const PLAIN: &str = "GET /api/x HTTP/1.1";
const POSTED: &str = "POST /api/x HTTP/1.1";

/// Requests as they are sent. `{h}` stands for `Host: gateway` and `Connection: close`, each with its line end.
const REQUESTS: &[(&str, Outcome)] = &[
    // === The request line (RFC 9112 section 3) ===
    ("GET  /people/api/x HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x  HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET\t/people/api/x\tHTTP/1.1\r\n{h}\r\n", MALFORMED),
    (" GET /people/api/x HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1 \r\n{h}\r\n", MALFORMED),
    ("GET /people/api/a b HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\n{h}\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r{h}\r\n", MALFORMED),
    ("GET /people/api/x\0 HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x\u{1} HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x\u{7f} HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/\u{c3}\u{bc} HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x?a=\u{e2}\u{80}\u{a8} HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x#y HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET people/api/x HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET ../people/api/x HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET ?x HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("G(T /people/api/x HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x http/1.1\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1x\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/ 1.1\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.2\r\n{h}\r\n", Rejected(505, "malformed-request")),
    ("GET /people/api/x HTTP/0.9\r\n{h}\r\n", Rejected(505, "malformed-request")),
    ("GET /people/api/x HTTP/2.0\r\n{h}\r\n", Rejected(505, "malformed-request")),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Rejected(505, "malformed-request")),
    ("\r\n\r\n\r\nGET /people/api/x HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}", MALFORMED),
    ("SSH-2.0-OpenSSH_9.2\r\n", MALFORMED),
    ("\r\nGET /people/api/x HTTP/1.1\r\n{h}\r\n", Sent(PLAIN, "")),
    ("GET /people/api/x HTTP/1.0\r\n\r\n", Sent(PLAIN, "")),
    ("GET /people/api/x HTTP/1.0\r\nConnection: close, te\r\nTE: trailers\r\n\r\n", Sent(PLAIN, "")),
    // === The forms of a target (RFC 9112 section 3.2) ===
    ("CONNECT people.zoho.com:443 HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("CONNECT /people/api/x HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("CONNECT http://people.zoho.com/api/x HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET people.zoho.com:443 HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("OPTIONS * HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET * HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("TRACE /people/api/x HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET http://evil.example/people/api/x HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET http://people.zoho.com.evil.example/api/x HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET http://people.zoho.com@evil.example/api/x HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET http://evil.example@people.zoho.com/api/x HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET http://accounts.zoho.com/oauth/v2/token HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET http://169.254.169.254/latest/meta-data HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    // With any port, because a hosts file may point this name here; the call goes to the account's endpoint all the
    // same.
    ("GET http://people.zoho.com:8443/api/x HTTP/1.1\r\n{h}\r\n", Sent(PLAIN, "")),
    ("GET file:///people/api/x HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET ftp://people.zoho.com/api/x HTTP/1.1\r\n{h}\r\n", MALFORMED),
    ("GET HTTP://people.zoho.com/api/x HTTP/1.1\r\n{h}\r\n", Sent(PLAIN, "")),
    ("GET http:///people/api/x HTTP/1.1\r\n{h}\r\n", MALFORMED),
    // The gateway's own names in absolute form (section 3.2.2), which override Host.
    ("GET http://zoho-gateway:8080/people/api/x HTTP/1.1\r\n{h}\r\n", Sent(PLAIN, "")),
    ("GET http://Gateway.Example/people/api/x HTTP/1.1\r\n{h}\r\n", Sent(PLAIN, "")),
    (
        "GET https://gateway.example:8443/people/api/x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        Sent(PLAIN, ""),
    ),
    ("GET http://localhost:8080/people/api/x HTTP/1.1\r\n{h}\r\n", Sent(PLAIN, "")),
    ("GET http://[::1]:8080/people/api/x HTTP/1.1\r\n{h}\r\n", Sent(PLAIN, "")),
    ("GET http://app.localhost/people/api/x HTTP/1.1\r\n{h}\r\n", Sent(PLAIN, "")),
    ("GET http://gateway/people/api/x HTTP/1.1\r\nOrigin: http://gateway\r\n{h}\r\n", Sent(PLAIN, "")),
    (
        "GET http://gateway/people/api/x HTTP/1.1\r\nOrigin: http://evil\r\nHost: evil\r\nConnection: close\r\n\r\n",
        FOREIGN,
    ),
    ("GET http://gateway/api/x HTTP/1.1\r\nHost: people.zoho.com\r\nConnection: close\r\n\r\n", UNKNOWN),
    ("GET http://user@gateway/people/api/x HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET http://evil.example/people/api/x HTTP/1.1\r\nHost: gateway.example\r\nConnection: close\r\n\r\n", UNKNOWN),
    ("GET http://sub.gateway.example/people/api/x HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET //evil.example/people/api/x HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET http://people.zoho.com/api/x HTTP/1.1\r\n{h}\r\n", Sent(PLAIN, "")),
    ("GET http://people.zoho.com/api/x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", Sent(PLAIN, "")),
    // === Paths that two servers could read differently ===
    ("GET /people/api/../x HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/../calendar/api/x HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/%2e%2e/x HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/.%2E/x HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/./x HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api%2fx HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api%5Cx HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/%252e%252e/x HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/%00x HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/%0d%0aX-Injected:%201 HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/%c0%ae%c0%ae/x HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/%e0%80%af HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/%ff HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/x;y=1 HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people//api/x HTTP/1.1\r\n{h}\r\n", Sent(PLAIN, "")),
    ("GET /people///api/x HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people//api//x HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api//x HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/x// HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people//../x HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET //people/api/x HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET //api/x HTTP/1.1\r\nHost: people.zoho.com\r\nConnection: close\r\n\r\n", AMBIGUOUS),
    ("GET /people/api/%zz HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/x% HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api\\x HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /People/api/x HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET /%70eople/api/x HTTP/1.1\r\n{h}\r\n", UNKNOWN),
    ("GET /people/api/%78 HTTP/1.1\r\n{h}\r\n", Sent("GET /api/%78 HTTP/1.1", "")),
    ("GET /people/api/x?a=/../%2e%2e/%0d%0a HTTP/1.1\r\n{h}\r\n", Sent("GET /api/x?a=/../%2e%2e/%0d%0a HTTP/1.1", "")),
    // === Fields (RFC 9112 section 5) ===
    ("GET /people/api/x HTTP/1.1\r\nX: a\r\n b\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\n Folded: a\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nX : a\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nX\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\n: a\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nX: a\0b\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nX: a\rY: b\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nX: a\r\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nX: a\u{c}\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nX: a\nY: b\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nX(Y): a\r\n{h}\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\n\u{e9}: a\r\n{h}\r\n", MALFORMED),
    // === Host (RFC 9112 section 3.2) ===
    ("GET /people/api/x HTTP/1.1\r\nConnection: close\r\n\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\n{h}Host: gateway\r\n\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\n{h}hOST: people.zoho.com\r\n\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nHost: localhost:80:80\r\nConnection: close\r\n\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nHost: [::1\r\nConnection: close\r\n\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nHost: gateway, evil.example\r\nConnection: close\r\n\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nHost: user@gateway\r\nConnection: close\r\n\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nHost: gateway/people\r\nConnection: close\r\n\r\n", MALFORMED),
    ("GET /people/api/x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", FOREIGN),
    ("GET /people/api/x HTTP/1.1\r\nHost: localhost.evil.example\r\nConnection: close\r\n\r\n", FOREIGN),
    ("GET /people/api/x HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\nConnection: close\r\n\r\n", FOREIGN),
    ("GET /api/x HTTP/1.1\r\nHost: people.zoho.com.evil.example\r\nConnection: close\r\n\r\n", FOREIGN),
    ("GET /api/x HTTP/1.1\r\nHost: people.zoho.com\r\nConnection: close\r\n\r\n", Sent(PLAIN, "")),
    ("GET /api/x HTTP/1.1\r\nHost: people.zoho.com:8080\r\nConnection: close\r\n\r\n", Sent(PLAIN, "")),
    ("GET /api/x HTTP/1.1\r\nHost: PEOPLE.zoho.com.:8443\r\nConnection: close\r\n\r\n", Sent(PLAIN, "")),
    ("GET /people/api/x HTTP/1.1\r\nHost: host.docker.internal\r\nConnection: close\r\n\r\n", Sent(PLAIN, "")),
    ("GET /people/api/x HTTP/1.1\r\nHost: host.lima.internal:8080\r\nConnection: close\r\n\r\n", Sent(PLAIN, "")),
    ("GET /people/api/x HTTP/1.1\r\nHost: host.docker.internal.evil.example\r\nConnection: close\r\n\r\n", FOREIGN),
    // === A page in a browser ===
    ("GET /people/api/x HTTP/1.1\r\nOrigin: https://evil.example\r\n{h}\r\n", FOREIGN),
    ("GET /people/api/x HTTP/1.1\r\nOrigin: null\r\n{h}\r\n", FOREIGN),
    (
        "OPTIONS /people/api/x HTTP/1.1\r\nOrigin: http://localhost:3000\r\nAccess-Control-Request-Method: PUT\r\n{h}\r\n",
        FOREIGN,
    ),
    ("GET /people/api/x HTTP/1.1\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n{h}\r\n", FOREIGN),
    ("GET /people/api/x HTTP/1.1\r\nSec-Fetch-Site: same-site\r\n{h}\r\n", FOREIGN),
    // === Where a body ends (RFC 9112 section 6) ===
    ("POST /people/api/x HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n{h}\r\n0\r\n\r\n", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n{h}\r\n0\r\n\r\n", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n{h}\r\nab", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n{h}\r\na", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nContent-Length: 1, 1\r\n{h}\r\na", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nContent-Length: +1\r\n{h}\r\na", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nContent-Length: -1\r\n{h}\r\n", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nContent-Length: 0x1\r\n{h}\r\na", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nContent-Length: 1 1\r\n{h}\r\na", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nContent-Length: \r\n{h}\r\n", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n{h}\r\n", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nContent-Length: 9999999999\r\n{h}\r\n", Rejected(413, "body-too-large")),
    ("POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n{h}\r\n0\r\n\r\n", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: \u{b}chunked\r\n{h}\r\n0\r\n\r\n", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nTransfer-Encoding : chunked\r\n{h}\r\n0\r\n\r\n", MALFORMED),
    (
        "POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n{h}\r\n0\r\n\r\n",
        MALFORMED,
    ),
    ("POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n{h}\r\n0\r\n\r\n", MALFORMED),
    (
        "POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n{h}\r\n0\r\n\r\n",
        Rejected(501, "malformed-request"),
    ),
    ("POST /people/api/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n{h}\r\n0\r\n\r\n", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{h}\r\n0x1\r\na\r\n0\r\n\r\n", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{h}\r\n1\na\n0\n\n", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{h}\r\n1\r\nab\r\n0\r\n\r\n", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{h}\r\n1;\n\r\na\r\n0\r\n\r\n", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{h}\r\nfffffffffffffffff\r\n", MALFORMED),
    ("POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{h}\r\n-1\r\n", MALFORMED),
    (
        "POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{h}\r\n1\r\na\r\n0\r\nX: 1\r\n y\r\n\r\n",
        MALFORMED,
    ),
    (
        "POST /people/api/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{h}\r\n2;x=y\r\nab\r\n0\r\n\r\n",
        Sent(POSTED, "ab"),
    ),
    (
        "POST /people/api/x HTTP/1.1\r\nContent-Length: 2\r\n{h}\r\nabGET /people/api/smuggled HTTP/1.1\r\n{h}\r\n",
        Sent(POSTED, "ab"),
    ),
    ("GET /people/api/x HTTP/1.1\r\nContent-Length: 2\r\n{h}\r\nab", Sent(PLAIN, "ab")),
    // === Encodings, expectations, other protocols ===
    (
        "PUT /people/api/v1/courses/1/share HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n{h}\r\n\u{1f}\u{8}",
        Rejected(415, "unsupported-encoding"),
    ),
    (
        "POST /people/api/x HTTP/1.1\r\nExpect: magic\r\nContent-Length: 2\r\n{h}\r\nab",
        Rejected(417, "malformed-request"),
    ),
    (
        "POST /people/api/x HTTP/1.1\r\nExpect: 100-continue\r\nExpect: magic\r\nContent-Length: 2\r\n{h}\r\nab",
        Rejected(417, "malformed-request"),
    ),
    ("POST /people/api/x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n{h}\r\nab", Sent(POSTED, "ab")),
    ("POST /people/api/x HTTP/1.1\r\nExpect:\r\nContent-Length: 2\r\n{h}\r\nab", Sent(POSTED, "ab")),
    ("POST /people/api/x HTTP/1.1\r\nExpect: ,\r\nContent-Length: 2\r\n{h}\r\nab", Sent(POSTED, "ab")),
    (
        "POST /people/api/x HTTP/1.1\r\nExpect: 100-continue, 100-Continue\r\nContent-Length: 2\r\n{h}\r\nab",
        Sent(POSTED, "ab"),
    ),
    (
        "POST /people/api/x HTTP/1.1\r\nExpect:\r\nExpect: , 100-continue\r\nContent-Length: 2\r\n{h}\r\nab",
        Sent(POSTED, "ab"),
    ),
    (
        "GET /people/api/x HTTP/1.1\r\nUpgrade: websocket\r\nHost: gateway\r\nConnection: upgrade, close\r\n\r\n",
        Sent(PLAIN, ""),
    ),
    (
        "GET /people/api/x HTTP/1.1\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nHost: gateway\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\r\n",
        Sent(PLAIN, ""),
    ),
    ("GET /people/api/x HTTP/1.1\r\nX-HTTP-Method-Override: DELETE\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/x HTTP/1.1\r\nX_HTTP_Method_Override: DELETE\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/x HTTP/1.1\r\nX-Original-URL: /api/y\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/x?a=b&%5Fmethod=DELETE HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    ("GET /people/api/x?a=1;_METHOD[]=DELETE HTTP/1.1\r\n{h}\r\n", AMBIGUOUS),
    (
        "POST /people/api/x HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 20\r\n{h}\r\na=1&%5Fmethod=DELETE",
        AMBIGUOUS,
    ),
    ("POST /people/api/x HTTP/1.1\r\nContent-Length: 14\r\n{h}\r\n_method=DELETE", AMBIGUOUS),
    ("POST /people/api/x HTTP/1.1\r\n_Method: DELETE\r\nContent-Length: 0\r\n{h}\r\n", AMBIGUOUS),
    (
        "POST /people/api/x HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-7\r\nContent-Length: 2\r\n{h}\r\na=",
        Rejected(415, "unsupported-encoding"),
    ),
    ("GET /people/api/x?a=_method HTTP/1.1\r\n{h}\r\n", Sent("GET /api/x?a=_method HTTP/1.1", "")),
    (
        "PUT /people/api/v1/courses/1/share HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-16\r\nContent-Length: 13\r\n{h}\r\nerecnosList=x",
        Rejected(415, "unsupported-encoding"),
    ),
    (
        "POST /people/api/x HTTP/1.1\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 1\r\n{h}\r\nx",
        MALFORMED,
    ),
    // The gateway follows its own request headers, even if Connection names them.
    (
        "PUT /people/api/x HTTP/1.1\r\nGateway-Account: nobody\r\nHost: gateway\r\nConnection: close, gateway-account\r\n\r\n",
        Rejected(404, "unknown-account"),
    ),
    (
        "PUT /people/api/x HTTP/1.1\r\nGateway-Dry-Run: ?9\r\nHost: gateway\r\nConnection: close, gateway-dry-run\r\n\r\n",
        AMBIGUOUS,
    ),
    // A field that Connection names is not sent, so the gateway does not check it either.
    (
        "PUT /people/api/v1/courses/1/share HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nHost: gateway\r\nConnection: close, content-type\r\n\r\nerecnosList=x",
        AMBIGUOUS,
    ),
    (
        "PUT /people/api/v1/courses/1/share HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 13\r\nHost: gateway\r\nConnection: close, content-encoding\r\n\r\nerecnosList=x",
        AMBIGUOUS,
    ),
    ("GET /people/api/x HTTP/1.1\r\nConnection: close, authorization, host\r\nHost: gateway\r\n\r\n", Sent(PLAIN, "")),
];

fn before(upstream: &Upstream) -> Setup {
    // The test makes many more calls than a threshold allows.
    Gateway::before_upstream(upstream).route("people.other.any-call", "throttle", "off")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_request_has_its_expected_outcome() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = before(&upstream).set("proxy.hosts", json!(["gateway.example"])).start();
    let mut seen = 0;
    for (request, outcome) in REQUESTS {
        let bytes = request.replace("{h}", "Host: gateway\r\nConnection: close\r\n");
        // Latin-1, so that a table of text can hold any byte.
        let bytes: Vec<u8> = bytes.chars().map(|char| u8::try_from(u32::from(char)).expect("a byte")).collect();
        let answer = exchange(gateway.address(), bytes).await;
        let sent = upstream.received().split_off(seen);
        seen += sent.len();
        match outcome {
            Rejected(status, problem) => {
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
                assert!(answer.contains(&format!(":problem:{problem}\"")), "{request:?}: {answer}");
                assert!(
                    answer.contains("\r\nx-request-id: ") && answer.contains("proxy-status: zoho-gateway"),
                    "{answer}"
                );
                assert_eq!(sent.len(), 0, "{request:?}: {sent:?}");
            }
            Sent(line, body) => {
                // An interim answer may come first.
                assert!(answer.contains("HTTP/1.1 200 ") || answer.contains("HTTP/1.0 200 "), "{request:?}: {answer}");
                let [sent] = &sent[..] else { panic!("{request:?}: {sent:?}") };
                assert_eq!((sent.line.as_str(), sent.body.as_slice()), (*line, body.as_bytes()), "{request:?}");
                assert_eq!(sent.header("host"), [upstream.address()], "{request:?}");
                let [authorization] = sent.header("authorization")[..] else { panic!("{request:?}: {sent:?}") };
                assert!(authorization.starts_with("Zoho-oauthtoken "), "{request:?}: {authorization}");
                for name in ["connection", "upgrade", "http2-settings", "te", "expect"] {
                    assert!(sent.header(name).is_empty(), "{request:?}: {sent:?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_bodies_have_a_maximum_size() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let setup = before(&upstream).set("proxy.max_header_bytes", "4KiB").set("proxy.max_headers", 16);
    let gateway = setup.set("proxy.max_body", "1KiB").start();
    let with = |target: &str, fields: &str, body: &str| {
        format!("POST /people/api/x{target} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n{fields}\r\n{body}")
    };
    let chunks = |count| format!("{}0\r\n\r\n", format!("40\r\n{}\r\n", "x".repeat(64)).repeat(count));
    let long = "a".repeat(5000);
    for (request, status) in [
        (with(&format!("?{long}"), "", ""), 414),
        (with("", &format!("X: {long}\r\n"), ""), 431),
        (with("", &"X: 1\r\n".repeat(14), ""), 200),
        (with("", &"X: 1\r\n".repeat(15), ""), 431),
        (format!("GET /people/api/x HTTP/1.1\r\nX: {}", "a".repeat(1_000_000)), 431),
        ("G".repeat(1_000_000), 414),
        (with("", "Transfer-Encoding: chunked\r\n", &chunks(16)), 200),
        (with("", "Transfer-Encoding: chunked\r\n", &chunks(17)), 413),
        (with("", "Transfer-Encoding: chunked\r\n", &format!("1;{long}\r\na\r\n0\r\n\r\n")), 400),
        (with("", "Transfer-Encoding: chunked\r\n", &format!("0\r\n{}\r\n", "X: 1\r\n".repeat(10_000))), 400),
    ] {
        let answer = exchange(gateway.address(), &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}\n{}", &request[..100]);
    }
}

/// The bytes after a fault are not read: they may be a smuggled request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_with_its_first_fault() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = before(&upstream).start();
    let good = "GET /people/api/x HTTP/1.1\r\nHost: gateway\r\n\r\n";
    for fault in ["GET /people/api/y HTTP/1.1\nHost: gateway\n\n", "GET /y HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"] {
        let sent = upstream.received().len();
        let answer = exchange(gateway.address(), format!("{good}{good}{fault}{good}")).await;
        let statuses: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["200", "200", "400"], "{answer}");
        assert_eq!(upstream.received().len(), sent + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_get_408_and_are_disconnected() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let setup = before(&upstream).set("proxy.header_timeout", "200ms").set("proxy.body_timeout", "300ms");
    let gateway = setup.set("proxy.idle_timeout", "400ms").start();
    let head = "POST /people/api/x HTTP/1.1\r\nHost: gateway\r\nContent-Length: 5\r\n";
    for (request, expected) in [
        (head.to_owned(), "HTTP/1.1 408 "),
        (format!("{head}\r\nab"), "HTTP/1.1 408 "),
        (String::new(), ""),
        (format!("{head}\r\nabcde"), "HTTP/1.1 200 "),
    ] {
        // The connection ends by itself.
        let answer = exchange(gateway.address(), &request).await;
        assert!(answer.starts_with(expected) && answer.is_empty() == expected.is_empty(), "{request}: {answer}");
        assert_eq!(answer.contains("request-timeout"), expected.contains("408"), "{answer}");
    }
    assert_eq!(upstream.received().len(), 1);
}

/// A redirect may lead anywhere, and the access token would go along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_passed_on_not_followed() {
    let elsewhere = Upstream::start(|_| Reply::json(200, "{}")).await;
    let location = format!("Location: {}/api/x\r\n", elsewhere.url());
    let upstream = Upstream::start(move |_| Reply::with(307, &location, b"")).await;
    let gateway = before(&upstream).start();
    let answer =
        exchange(gateway.address(), "GET /people/api/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 307 ") && answer.contains(&elsewhere.url()), "{answer}");
    assert_eq!((upstream.received().len(), elsewhere.connections()), (1, 0));
}

/// The gateway never grants CORS, whatever Zoho answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_web_page_may_read_an_answer() {
    let cors = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\nX-Other: 1\r\n";
    let upstream = Upstream::start(move |_| Reply::with(200, cors, b"{}")).await;
    let gateway = before(&upstream).start();
    let answer =
        exchange(gateway.address(), "GET /people/api/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("x-other: 1") && !answer.to_lowercase().contains("access-control"), "{answer}");
}

/// A browser may reach the admin listener too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_pages_cannot_read_the_admin_listener() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = before(&upstream).start();
    let absolute = "GET http://evil.example/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = exchange(gateway.admin_address(), absolute).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    for (fields, status) in [
        ("Host: localhost", 200),
        ("Host: 0.0.0.0\r\nUser-Agent: Mozilla/5.0", 403),
        ("Host: evil.example", 403),
        ("Host: localhost\r\nOrigin: http://evil.example", 403),
        ("Host: localhost\r\nSec-Fetch-Site: cross-site", 403),
        // A person follows a link in a dashboard.
        ("Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document", 200),
        ("Host: evil.example\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document", 403),
        ("Host: localhost\r\nHost: localhost", 400),
    ] {
        let request = format!("GET /status HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n");
        let answer = exchange(gateway.admin_address(), request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}: {answer}");
    }
}

/// One connection for two listeners: a client that waits in accept uses none, and an idle connection is closed for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_closed_when_none_is_free() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let socket = tempfile::tempdir().expect("a folder");
    let unix = format!("unix:{}", socket.path().join("proxy.sock").display());
    let setup = before(&upstream).set("proxy.listen", json!(["127.0.0.1:0", unix])).set("proxy.max_connections", 1);
    let gateway = setup.start();
    let mut kept = gateway.connect().await;
    kept.send(&get("/people/api/x")).await.is_zohos(200);
    // By then it counts as idle; later ones become idle while a client waits.
    tokio::time::sleep(ms(1500)).await;
    for address in [gateway.address(), &unix, gateway.address()] {
        // It is sent while the previous connection is idle, and answered long before that connection times out.
        get("/people/api/x").send(address).await.is_zohos(200);
    }
    let silent: Vec<_> = all((0..3).map(|_| {
        let address = gateway.address().to_owned();
        async move { tokio::net::TcpStream::connect(address).await.expect("it listens") }
    }))
    .await;
    get("/people/api/x").send(gateway.address()).await.is_zohos(200);
    drop(silent);
}

/// Ten forms of 300 KiB, of which 1 MiB may be held while they are read: each is within its limit, but not all
/// together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_share_a_memory_limit_while_they_are_read() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = before(&upstream).set("queue.max_waiting_bytes", "4MiB").start();
    let head = "PUT /people/api/v1/courses/1/share HTTP/1.1\r\nHost: gateway\r\nContent-Length: 400000\r\n\r\n";
    let mut reading = Vec::new();
    for _ in 0..10 {
        let mut stream = tokio::net::TcpStream::connect(gateway.address()).await.expect("it listens");
        // A rejected upload breaks off while it is sent.
        let _ = stream.write_all((head.to_owned() + &"x".repeat(300 * 1024)).as_bytes()).await;
        reading.push(stream);
    }
    let mut answers: FuturesUnordered<_> = reading
        .iter_mut()
        .map(|stream| async move {
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.map(|_| answer)
        })
        .collect();
    for _ in 0..7 {
        let answer = tokio::time::timeout(ms(10_000), answers.next()).await.expect("three fit, seven do not");
        assert_eq!(&answer.expect("seven of ten").expect("an answer"), b"HTTP/1.1 429");
    }
    assert!(tokio::time::timeout(ms(300), answers.next()).await.is_err(), "three fit");
    drop(answers);
    drop(reading);
    get("/people/api/x").send(gateway.address()).await.is_zohos(200);
}

/// Without a free file the gateway accepts no connection. It logs that now and then, and serves the waiting client
/// later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_free_files_does_not_fill_its_log() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = before(&upstream).start();
    get("/people/api/x").send(gateway.address()).await.is_zohos(200);
    let limits = shell(&format!("prlimit --pid {} --nofile --noheadings --output SOFT,HARD", gateway.process().id()));
    let (soft, hard) = limits.trim().split_once(char::is_whitespace).expect("two limits");
    prlimit(gateway.process().id(), &format!("--nofile=5:{}", hard.trim()));
    let waiting = tokio::spawn(get("/people/api/x").sending(gateway.address()));
    gateway.process().logs("could not accept a connection");
    // Many failures are over by then.
    tokio::time::sleep(ms(1500)).await;
    prlimit(gateway.process().id(), &format!("--nofile={soft}:{}", hard.trim()));
    waiting.await.expect("no panic").is_zohos(200);
    let lines = gateway.process().log().into_iter().filter(|line| line.contains("could not accept")).count();
    assert_eq!(lines, 1);
}
