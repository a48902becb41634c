//! Any token and any JWK Set: both are read as other readers do, and only a real signature verifies.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{
    jwks::{ALGORITHMS, KeyChoice, KeySet},
    token::{Token, as_jwt},
};

/// The only key whose private part is known here, its public part as in a JWK, and a set with only this key.
static OURS: LazyLock<(Ed25519KeyPair, String, KeySet)> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed of 32 bytes");
    let x = base64url(pair.public_key().as_ref());
    let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x }] });
    let set = KeySet::parse(set.to_string().as_bytes()).expect("a key set");
    (pair, x, set)
});

const AUDIENCE: &str = "zoho-gateway";
const NOW: u64 = 1_800_000_000;

/// Reads a line with a token's header, a line with its claims, and the rest as a JWK Set. The token is signed here, so
/// that the code after the signature check runs too.
pub fn jwt(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (Some(header), Some(claims), Some(set)) = (lines.next(), lines.next(), lines.next()) else { return };
    let whole = as_jwt(header).and_then(|text| Token::read(text).ok());
    assert!(!whole.is_some_and(|token| is_ours(&token)), "nothing has signed it");

    let message = [base64url(header), base64url(claims)].join(".");
    let signature = base64url(OURS.0.sign(message.as_bytes()).as_ref());
    let text = format!("{message}.{signature}");
    let Ok(token) = Token::read(&text) else { return };
    reads_the_same(&token, header, claims);
    assert_eq!(is_ours(&token), token.algorithm() == Algorithm::EdDSA, "the key is for EdDSA and nothing else");
    let at = data.iter().map(|byte| usize::from(*byte)).sum::<usize>() % text.len();
    let other = if text[at..].starts_with('A') { "B" } else { "A" };
    for forged in [
        [&text[..at], other, &text[at + 1..]].concat(),
        [&text[..at], &text[at + 1..]].concat(),
        format!("{text}A"),
        format!("{message}."),
    ] {
        assert!(!Token::read(&forged).is_ok_and(|token| is_ours(&token)), "{forged}");
    }
    chooses(&token, set);
}

fn is_ours(token: &Token<'_>) -> bool {
    let KeyChoice::Key(key) = OURS.2.choose(None, Algorithm::EdDSA) else { panic!("the one key") };
    token.verify(key).is_ok()
}

/// A reader of any JSON reads the same header and claims.
fn reads_the_same(token: &Token<'_>, header: &[u8], claims: &[u8]) {
    // It may fail at a number or a depth in a member that does not matter.
    let read = |json| serde_json::from_slice::<Value>(json).ok();
    let (Some(header), Some(claims)) = (read(header), read(claims)) else { return };
    assert_eq!(header["alg"], format!("{:?}", token.algorithm()));
    assert_eq!(header["kid"].as_str(), token.key_id());
    assert!(header["crit"].is_null(), "{header}");
    assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (token.issuer(), token.subject()));

    let for_us = match &claims["aud"] {
        Value::Array(several) => several.iter().any(|one| one == AUDIENCE),
        one => one == AUDIENCE,
    };
    let time = |name: &str| claims[name].as_f64();
    let expires_later = time("exp").is_some_and(|end| NOW as f64 - 30.0 < end);
    let began = ["nbf", "iat"].into_iter().filter_map(time).all(|begin| begin <= NOW as f64 + 30.0);
    let accepted =
        token.check_claims(&[AUDIENCE.to_owned()], SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)).is_ok();
    assert_eq!(accepted, for_us && expires_later && began, "{claims}");
}

/// A chosen key has that name and fits that algorithm, and it does not verify what another key signed.
fn chooses(token: &Token<'_>, set: &[u8]) {
    let Ok(keys) = KeySet::parse(set) else { return };
    let set: Value = serde_json::from_slice(set).expect("JSON");
    let jwks = set["keys"].as_array().expect("a list");
    assert!(keys.len() <= jwks.len());
    let id = token.key_id();
    for symmetric in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        for id in [None, id] {
            assert!(
                !matches!(keys.choose(id, symmetric), KeyChoice::Key(_) | KeyChoice::Several),
                "{symmetric:?} by {id:?}"
            );
        }
    }
    for (name, algorithm) in ALGORITHMS {
        let KeyChoice::Key(key) = keys.choose(id, algorithm) else { continue };
        let fits = |jwk: &Value| {
            let kind = match algorithm {
                Algorithm::ES256 => jwk["kty"] == "EC" && jwk["crv"] == "P-256",
                Algorithm::ES384 => jwk["kty"] == "EC" && jwk["crv"] == "P-384",
                Algorithm::EdDSA => jwk["kty"] == "OKP" && jwk["crv"] == "Ed25519",
                _ => jwk["kty"] == "RSA",
            };
            let free_or = |name: &str, value: &str| jwk[name].is_null() || jwk[name] == value;
            kind && free_or("alg", name) && free_or("use", "sig") && id.is_none_or(|id| jwk["kid"] == id)
        };
        assert!(jwks.iter().any(fits), "{name} by {id:?}: {set}");
        let holds_ours = jwks.iter().any(|jwk| jwk["x"] == OURS.1);
        assert!(holds_ours || token.verify(key).is_err(), "{set}");
    }
}

/// RFC 4648 section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = |three: &[u8]| {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        let digits = [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]));
        digits.into_iter().take(three.len() + 1).collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}
