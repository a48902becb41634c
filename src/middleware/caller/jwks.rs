//! An issuer's public keys, a JWK Set (RFC 7517 section 5), and the choice of the key that verifies a token.

use std::path::Path;

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use crate::secret::file_watch::{self, Unread};

/// Enough for hundreds of keys; issuers have a handful.
pub(super) const LONGEST_SET: u64 = 256 * 1024;

/// The supported algorithms. None is symmetric: with a symmetric key, a verifier can also sign (RFC 8725 section 3.2).
pub const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// The keys that verify signatures.
#[derive(Debug, Clone, PartialEq)]
pub struct KeySet(Vec<Key>);

/// A key that verifies signatures.
#[derive(Debug, Clone)]
pub(super) struct Key {
    jwk: Jwk,
    /// The algorithms that fit its type, curve and `alg`. A token alone never decides the algorithm.
    algorithms: Vec<Algorithm>,
    pub(super) verifier: DecodingKey,
}

/// Why a key set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableSet {
    /// The file cannot be read.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// The text is not a key set.
    #[error("is not a JWK Set: expected a JSON object with a list \"keys\" (RFC 7517)")]
    NoSet,
    /// No key in it can verify a token.
    #[error("holds no key that verifies signatures with RS, PS or ES 256 to 512 or EdDSA")]
    NoKey,
}

/// The key that has to verify a token.
#[derive(Debug)]
pub(super) enum KeyChoice<'a> {
    /// The only key that fits.
    Key(&'a Key),
    /// The set does not hold the key, or not yet.
    Unknown,
    /// The key exists, but does not fit the algorithm.
    Unfit,
    /// The token names no key, and several fit.
    Several,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a key set. Keys of unknown types and for other uses are ignored, as section 5 says. An empty set means that
    /// the issuer has withdrawn all keys, so that its tokens are rejected.
    ///
    /// # Errors
    /// [`UnusableSet::NoSet`], when the text is not a key set.
    pub fn parse(json: &[u8]) -> Result<Self, UnusableSet> {
        let set: Set = serde_json::from_slice(json).map_err(|_| UnusableSet::NoSet)?;
        Ok(Self(set.keys.into_iter().filter_map(Key::read).collect()))
    }

    /// The set, if it holds a key, as it must at the start.
    ///
    /// # Errors
    /// [`UnusableSet::NoKey`], when it is empty.
    pub fn with_a_key(self) -> Result<Self, UnusableSet> {
        if self.is_empty() { Err(UnusableSet::NoKey) } else { Ok(self) }
    }

    /// Reads a file that holds a key set.
    ///
    /// # Errors
    /// [`UnusableSet`], when the file cannot be read or is not a key set.
    pub fn in_file(path: &Path) -> Result<Self, UnusableSet> {
        Self::parse(file_watch::read(path, LONGEST_SET)?.expose())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of keys.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key that is meant by a token's `kid`, or without one the only key that its algorithm fits.
    pub(super) fn choose(&self, id: Option<&str>, algorithm: Algorithm) -> KeyChoice<'_> {
        let named = |key: &&Key| id.is_none() || key.id() == id;
        let mut fitting = self.0.iter().filter(named).filter(|key| key.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => KeyChoice::Key(key),
            (Some(_), Some(_)) => KeyChoice::Several,
            (None, _) if id.is_some() && self.0.iter().any(|key| named(&key)) => KeyChoice::Unfit,
            (None, _) => KeyChoice::Unknown,
        }
    }
}

/// The other fields follow from the published key.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.jwk == other.jwk
    }
}

impl Key {
    fn read(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let common = &jwk.common;
        let for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let verifies =
            common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !for_signatures || !verifies {
            return None;
        }
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => ALGORITHMS[..6].iter().map(|(_, algorithm)| *algorithm).collect(),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => vec![Algorithm::ES256],
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => vec![Algorithm::ES384],
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
            _ => return None,
        };
        if let Some(own) = common.key_algorithm {
            algorithms.retain(|algorithm| own == (*algorithm).into());
        }
        let verifier = DecodingKey::from_jwk(&jwk).ok()?;
        (!algorithms.is_empty()).then(|| Self { jwk, algorithms, verifier })
    }

    fn id(&self) -> Option<&str> {
        self.jwk.common.key_id.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A point of P-256, from RFC 7517 appendix A.1.
    fn p256() -> Value {
        json!({ "kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" })
    }

    fn rsa() -> Value {
        json!({ "kty": "RSA", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4", "e": "AQAB" })
    }

    fn with(mut key: Value, fields: Value) -> Value {
        key.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        key
    }

    fn set(keys: Value) -> Result<KeySet, UnusableSet> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())?.with_a_key()
    }

    #[test]
    fn ignores_keys_that_do_not_verify_signatures() {
        for fields in [
            json!({}),
            json!({ "use": "sig" }),
            json!({ "key_ops": ["verify"] }),
            json!({ "alg": "ES256" }),
            json!({ "x5t": "x", "unheard": { "of": 1 } }),
        ] {
            assert_eq!(set(json!([with(p256(), fields.clone())])).unwrap().len(), 1, "{fields}");
        }
        for key in [
            with(p256(), json!({ "use": "enc" })),
            with(p256(), json!({ "key_ops": ["sign"] })),
            with(p256(), json!({ "alg": "ES384" })),
            with(p256(), json!({ "alg": "HS256" })),
            with(p256(), json!({ "alg": "ECDH-ES" })),
            with(p256(), json!({ "crv": "P-521" })),
            with(p256(), json!({ "crv": "secp256k1" })),
            with(p256(), json!({ "x": 7 })),
            with(rsa(), json!({ "alg": "RSA-OAEP" })),
            json!({ "kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75" }),
            json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "x" }),
            json!("nonsense"),
        ] {
            assert!(matches!(set(json!([key])), Err(UnusableSet::NoKey)), "{key}");
            assert_eq!(set(json!([key, p256()])).unwrap().len(), 1, "{key}");
        }
        for text in ["", "[]", "{}", "{\"keys\":{}}", "<html>"] {
            assert!(matches!(KeySet::parse(text.as_bytes()), Err(UnusableSet::NoSet)), "{text}");
        }
        assert!(matches!(set(json!([])), Err(UnusableSet::NoKey)));
    }

    #[test]
    fn chooses_the_key_by_name_and_algorithm() {
        let named = |key: Value, id: &str| with(key, json!({ "kid": id }));
        let pinned = with(named(rsa(), "pinned"), json!({ "alg": "RS256" }));
        let keys = set(json!([named(p256(), "ec"), named(rsa(), "rsa"), pinned])).unwrap();
        let chosen = |id, algorithm| match keys.choose(id, algorithm) {
            KeyChoice::Key(key) => key.id().unwrap().to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(chosen(Some("ec"), Algorithm::ES256), "ec");
        assert_eq!(chosen(Some("rsa"), Algorithm::PS512), "rsa");
        assert_eq!(chosen(Some("ec"), Algorithm::ES384), "Unfit");
        assert_eq!(chosen(Some("ec"), Algorithm::RS256), "Unfit");
        assert_eq!(chosen(Some("rsa"), Algorithm::HS256), "Unfit");
        assert_eq!(chosen(Some("pinned"), Algorithm::PS256), "Unfit");
        assert_eq!(chosen(Some("new"), Algorithm::ES256), "Unknown");
        assert_eq!(chosen(None, Algorithm::ES256), "ec");
        assert_eq!(chosen(None, Algorithm::RS384), "rsa");
        assert_eq!(chosen(None, Algorithm::RS256), "Several");
        assert_eq!(chosen(None, Algorithm::EdDSA), "Unknown");
        assert_eq!(chosen(None, Algorithm::HS256), "Unknown");
    }
}
