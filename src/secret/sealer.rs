//! Encrypts data that outlives the process, with a key derived from a secret that the disk does not have.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Prk, Salt},
    rand,
};

use super::Secret;

/// Seals and opens texts with one key (AES-256-GCM).
#[derive(Debug)]
pub struct Sealer(LessSafeKey);

impl Sealer {
    /// The key for this `purpose`, derived (HKDF, RFC 5869) from `secret`. `info` names whose secret it is. `None` only
    /// if the cryptographic library fails, which no input causes.
    #[must_use]
    pub fn derive(purpose: &[u8], secret: &Secret, info: &str) -> Option<Self> {
        let key = prk(purpose, secret).expand(&[info.as_bytes()], &AES_256_GCM).ok().map(UnboundKey::from)?;
        Some(Self(LessSafeKey::new(key)))
    }

    /// A fresh nonce, followed by the sealed text, which opens only with the same `place`.
    #[must_use]
    pub fn seal(&self, mut text: Vec<u8>, place: &str) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let aad = Aad::from(place.as_bytes());
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text).ok()?;
        Some([nonce.as_slice(), &text].concat())
    }

    /// Opens a sealed text; `None` if it was sealed with another key or for another `place`, or was changed.
    #[must_use]
    pub fn open(&self, sealed: &[u8], place: &str) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let aad = Aad::from(place.as_bytes());
        let length = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

/// A name for this secret that reveals nothing about it; `None` only if the cryptographic library fails.
#[must_use]
pub fn name(purpose: &[u8], secret: &Secret, info: &str) -> Option<[u8; 32]> {
    let mut name = [0; 32];
    prk(purpose, secret).expand(&[info.as_bytes()], HKDF_SHA256).ok()?.fill(&mut name).ok()?;
    Some(name)
}

fn prk(purpose: &[u8], secret: &Secret) -> Prk {
    Salt::new(HKDF_SHA256, purpose).extract(secret.expose().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(purpose: &str, secret: &str, info: &str) -> Sealer {
        Sealer::derive(purpose.as_bytes(), &Secret::from(secret), info).unwrap()
    }

    #[test]
    fn only_the_same_key_and_place_open_a_text() {
        let sealed = sealer("a", "b", "c").seal(b"mailid=ann@example.com".to_vec(), "here").unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("ann"));
        assert_eq!(sealer("a", "b", "c").open(&sealed, "here").unwrap(), b"mailid=ann@example.com");
        for other in [sealer("x", "b", "c"), sealer("a", "x", "c"), sealer("a", "b", "x")] {
            assert!(other.open(&sealed, "here").is_none());
        }
        assert!(sealer("a", "b", "c").open(&sealed, "there").is_none());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(sealer("a", "b", "c").open(&altered, "here").is_none(), "byte {at}");
            assert!(sealer("a", "b", "c").open(&sealed[..at], "here").is_none(), "{at} bytes");
        }
    }

    #[test]
    fn sealing_twice_gives_different_texts() {
        let sealer = sealer("a", "b", "c");
        assert_ne!(sealer.seal(vec![1], ""), sealer.seal(vec![1], ""));
    }
}
