//! SHA-256 of what must not be written itself.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{self, Context, SHA256};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{call::Payload, message::body::Witness, secret::hex};

/// In 64 lower-case hexadecimal digits; `None` of nothing.
pub(super) fn of(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| hex::lower(digest::digest(&SHA256, bytes).as_ref()))
}

/// A body, as far as its hash is concerned.
#[derive(Debug)]
pub(super) enum Hashed {
    /// At hand. It is hashed when the first line is written, since many calls are never sent.
    Held(Bytes, OnceLock<Option<String>>),
    /// Hashed while it passes.
    Passing(Arc<Passing>),
}

impl Hashed {
    /// The payload goes on as it was, watched where it streams.
    pub(super) fn watch(payload: Payload) -> (Self, Payload) {
        match payload {
            Payload::Held { bytes, trailers } => {
                (Self::Held(bytes.clone(), OnceLock::new()), Payload::Held { bytes, trailers })
            }
            Payload::Streamed(body) => {
                let passing = Arc::new(Passing::default());
                let witness: Arc<dyn Witness> = passing.clone();
                (Self::Passing(passing), Payload::Streamed(body.before(witness)))
            }
        }
    }

    /// `None` of an empty body, and of one that did not pass whole.
    pub(super) fn hash(&self) -> Option<String> {
        match self {
            Self::Held(bytes, hash) => hash.get_or_init(|| of(bytes)).clone(),
            Self::Passing(passing) => passing.0.lock().hash.clone(),
        }
    }
}

/// The hash of a body that streams.
#[derive(Debug, Default)]
pub(super) struct Passing(Mutex<Progress>);

#[derive(Default)]
struct Progress {
    /// Of what passed so far; `None` of nothing.
    so_far: Option<Context>,
    hash: Option<String>,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl Witness for Passing {
    fn passes(&self, data: &[u8]) {
        if !data.is_empty() {
            self.0.lock().so_far.get_or_insert_with(|| Context::new(&SHA256)).update(data);
        }
    }

    fn has_passed(&self) {
        let mut progress = self.0.lock();
        if let Some(whole) = progress.so_far.take() {
            progress.hash = Some(hex::lower(whole.finish().as_ref()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn pieces_have_the_hash_of_the_whole() {
        assert_eq!(of(b"abc").as_deref(), Some(ABC));
        assert_eq!(of(b""), None);
        let passing = Arc::new(Passing::default());
        let hashed = Hashed::Passing(Arc::clone(&passing));
        for piece in [&b"a"[..], b"", b"bc"] {
            passing.passes(piece);
        }
        assert_eq!(hashed.hash(), None, "it may go on");
        passing.has_passed();
        passing.has_passed();
        assert_eq!(hashed.hash().as_deref(), Some(ABC));
        let nothing = Passing::default();
        nothing.has_passed();
        assert_eq!(Hashed::Passing(Arc::new(nothing)).hash(), None);
    }
}
