//! Any bytes on a connection: hyper gets the same bytes in pieces and as a whole, and another parser accepts them.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub use super::tls::fuzzing::certificate;

use super::idle::IdleConnections;
use super::wire::{ConnectionState, HeadLimits, StrictHttp1, Timeouts};
use crate::message::protocol::RequestState;

const TIMEOUTS: Timeouts = Timeouts {
    head: HeadLimits { bytes: 2048, fields: 20 },
    max_body: 1024 * 1024,
    header_timeout: std::time::Duration::from_secs(3600),
    body_timeout: std::time::Duration::from_secs(3600),
    send_timeout: std::time::Duration::from_secs(3600),
    idle_timeout: std::time::Duration::from_secs(3600),
};

/// What hyper gets in place of a rejected head.
const PLACEHOLDER_HEAD: &[u8] = b"- / HTTP/1.1\r\nHost: -\r\nConnection: close\r\n\r\n";

/// Sends the bytes after the first one as a whole, and in pieces whose length is the first byte.
pub fn wire(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let whole = runtime.block_on(passed(bytes, bytes.len().max(1)));
    let in_pieces = runtime.block_on(passed(bytes, usize::from(*piece).max(1)));
    assert_eq!(whole.1, in_pieces.1);
    // More of a malformed body is handed on in pieces, before its fault is found.
    let found_later = whole.1.is_some() && in_pieces.0.starts_with(&whole.0);
    assert!(found_later || whole.0 == in_pieces.0, "{:?}", (String::from_utf8_lossy(&whole.0), &in_pieces.0));
    reads_the_same(&whole.0, whole.1.is_some());
}

/// The bytes that hyper gets, and the fault that ended them.
async fn passed(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<String>) {
    let (mut outside, inside) = tokio::io::duplex(bytes.len().max(1));
    let connection_state = Arc::<ConnectionState>::default();
    let mut stream = StrictHttp1::new(inside, TIMEOUTS, IdleConnections::default(), Arc::clone(&connection_state));
    let mut through = Vec::new();
    let mut buffer = vec![0; 4096];
    for piece in bytes.chunks(piece) {
        outside.write_all(piece).await.expect("a buffer for all bytes");
        // There is nothing to read while a head is incomplete.
        while let Ok(Ok(read)) =
            tokio::time::timeout(std::time::Duration::from_millis(1), stream.read(&mut buffer)).await
        {
            if read == 0 {
                break;
            }
            through.extend_from_slice(&buffer[..read]);
        }
    }
    let faults: Vec<RequestState> = (0..bytes.len()).map(|_| connection_state.begin_request()).collect();
    (through, faults.iter().find_map(RequestState::fault).map(|fault| format!("{fault:?}")))
}

/// hyper's own parser accepts the first head, with at most one Host and one kind of length.
fn reads_the_same(through: &[u8], faulty: bool) {
    if through.is_empty() {
        return;
    }
    let mut fields = [httparse::EMPTY_HEADER; 21];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(through).unwrap_or_else(|error| panic!("{error}: {through:?}"));
    assert!(parsed.is_complete(), "{through:?}");
    let of = |name: &str| request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count();
    assert!(of("host") <= 1 && of("content-length") + of("transfer-encoding") <= 1, "{through:?}");
    let target = request.path.expect("complete");
    assert!(http::Uri::try_from(target).is_ok() && !target.contains(['"', '#']), "{target}");
    let head = &through[..through.windows(4).position(|end| end == b"\r\n\r\n").expect("an end") + 4];
    assert!(head.windows(2).all(|pair| (pair[1] == b'\n') == (pair[0] == b'\r')), "{through:?}");
    // hyper gets nothing of a rejected head, and a malformed chunked body up to its fault.
    let chunked = || through.to_ascii_lowercase().windows(7).any(|word| word == b"chunked");
    assert!(!faulty || through.ends_with(PLACEHOLDER_HEAD) || chunked(), "{through:?}");
}
