//! SHA-256 of data that must not be written itself.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{self, Context, SHA256};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{call::Payload, message::body::Witness, secret::hex};

/// The hash in 64 lower-case hexadecimal digits; `None` for empty data.
pub(super) fn of(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| hex::lower(digest::digest(&SHA256, bytes).as_ref()))
}

/// The hash of a body.
#[derive(Debug)]
pub(super) enum BodyHash {
    /// Of a body in memory, computed for the first line, because many calls are never sent.
    Held(Bytes, OnceLock<Option<String>>),
    /// Of a body that streams, computed meanwhile.
    Streamed(Arc<StreamHash>),
}

impl BodyHash {
    /// Returns the payload unchanged; a stream is hashed as it passes.
    pub(super) fn watch(payload: Payload) -> (Self, Payload) {
        match payload {
            Payload::Held { bytes, trailers } => {
                (Self::Held(bytes.clone(), OnceLock::new()), Payload::Held { bytes, trailers })
            }
            Payload::Streamed(body) => {
                let stream = Arc::new(StreamHash::default());
                let witness: Arc<dyn Witness> = stream.clone();
                (Self::Streamed(stream), Payload::Streamed(body.before(witness)))
            }
        }
    }

    /// `None` for an empty body, and for a stream that has not ended.
    pub(super) fn hash(&self) -> Option<String> {
        match self {
            Self::Held(bytes, hash) => hash.get_or_init(|| of(bytes)).clone(),
            Self::Streamed(stream) => stream.0.lock().hash.clone(),
        }
    }
}

/// The hash of a body that streams.
#[derive(Debug, Default)]
pub(super) struct StreamHash(Mutex<StreamState>);

#[derive(Default)]
struct StreamState {
    /// The hash of the data so far; `None` before the first data.
    so_far: Option<Context>,
    hash: Option<String>,
}

impl std::fmt::Debug for StreamState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamState").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl Witness for StreamHash {
    fn passes(&self, data: &[u8]) {
        if !data.is_empty() {
            self.0.lock().so_far.get_or_insert_with(|| Context::new(&SHA256)).update(data);
        }
    }

    fn has_passed(&self) {
        let mut state = self.0.lock();
        if let Some(whole) = state.so_far.take() {
            state.hash = Some(hex::lower(whole.finish().as_ref()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_stream_has_the_hash_of_the_whole_body() {
        assert_eq!(of(b"abc").as_deref(), Some(ABC));
        assert_eq!(of(b""), None);
        let stream = Arc::new(StreamHash::default());
        let hashed = BodyHash::Streamed(Arc::clone(&stream));
        for piece in [&b"a"[..], b"", b"bc"] {
            stream.passes(piece);
        }
        assert_eq!(hashed.hash(), None, "it may go on");
        stream.has_passed();
        stream.has_passed();
        assert_eq!(hashed.hash().as_deref(), Some(ABC));
        let nothing = StreamHash::default();
        nothing.has_passed();
        assert_eq!(BodyHash::Streamed(Arc::new(nothing)).hash(), None);
    }
}
