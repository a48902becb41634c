//! Tokens and their issuers. Tests that need a server are in `tests/it/jwt.rs`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::{encoding::AsDer, rsa, signature::Ed25519KeyPair};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{
    ALGORITHMS, IssuerSettings, Issuers, KeySet, KeySource,
    issuer::TokenCheck,
    token::{Token, as_jwt},
};
use crate::{problem::BadToken, telemetry::Metrics};

const ISSUER: &str = "https://issuer.example.org";

/// The time at which the tests check tokens, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

/// A named signing key.
struct Signer {
    id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    fn ec(id: &'static str, kind: &'static rcgen::SignatureAlgorithm, algorithm: Algorithm) -> Self {
        let key = EncodingKey::from_ec_der(&KeyPair::generate_for(kind).unwrap().serialize_der());
        Self { id, algorithm, key }
    }

    fn es256(id: &'static str) -> Self {
        Self::ec(id, &rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256)
    }

    fn rsa(id: &'static str, algorithm: Algorithm) -> Self {
        let pkcs8 = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap().as_der().unwrap();
        // The crate wants the PKCS #1 key, which the PKCS #8 structure contains.
        Self { id, algorithm, key: EncodingKey::from_rsa_der(&pkcs8.as_ref()[26..]) }
    }

    fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_with(&Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) }, claims)
    }

    fn sign_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).unwrap()
    }
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "payroll", "aud": "zoho-gateway", "exp": NOW + 60 })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// An issuer whose keys come from a file that is not read.
fn issuers(keys: &[&Signer], algorithms: &[Algorithm]) -> Issuers {
    let keys = json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() });
    let settings = IssuerSettings {
        name: "ours".to_owned(),
        issuer: ISSUER.to_owned(),
        audiences: vec!["zoho-gateway".to_owned(), "other-name".to_owned()],
        algorithms: algorithms.to_vec(),
        keys: KeySource::File { path: "/nowhere".into(), keys: KeySet::parse(keys.to_string().as_bytes()).unwrap() },
    };
    Issuers::new(vec![settings], &crate::upstream::Egress::direct(), &Arc::new(Metrics::new()))
}

fn every_algorithm() -> Vec<Algorithm> {
    ALGORITHMS.map(|(_, algorithm)| algorithm).to_vec()
}

/// The subject of a token, or why it is rejected.
fn checked(issuers: &Issuers, text: &str) -> Result<String, BadToken> {
    let token = Token::read(text)?;
    let issuer = token.issuer().and_then(|iss| issuers.of(iss)).ok_or(BadToken::UnknownIssuer)?;
    match issuer.check(&token, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)) {
        TokenCheck::Good => Ok(token.subject().unwrap_or_default().to_owned()),
        TokenCheck::Bad(bad) => Err(bad),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_asymmetric_algorithm_is_verified() {
    let pkcs8 = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
    let mut signers = vec![
        Signer::es256("p256"),
        Signer::ec("p384", &rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::ES384),
        Signer { id: "ed", algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_der(pkcs8.as_ref()) },
    ];
    let rsa =
        [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
    signers.extend(rsa.map(|algorithm| Signer::rsa("rsa", algorithm)));
    assert_eq!(signers.len(), ALGORITHMS.len());
    for signer in &signers {
        let issuers = issuers(&[signer], &every_algorithm());
        let token = signer.sign(&claims());
        assert_eq!(checked(&issuers, &token).as_deref(), Ok("payroll"), "{:?}", signer.algorithm);
        // Another claim under the same signature, and another signature under the same claims.
        let other = signer.sign(&with("sub", "reports"));
        let (head, payload, signature) = parts(&token);
        let (_, other_payload, other_signature) = parts(&other);
        for forged in [
            format!("{head}.{other_payload}.{signature}"),
            format!("{head}.{payload}.{other_signature}"),
            format!("{head}.{payload}."),
        ] {
            assert_eq!(checked(&issuers, &forged), Err(BadToken::Signature), "{:?}", signer.algorithm);
        }
    }
}

fn parts(token: &str) -> (&str, &str, &str) {
    let mut parts = token.split('.');
    (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn claims_need_the_right_audience_and_time() {
    let signer = Signer::es256("one");
    let issuers = issuers(&[&signer], &every_algorithm());
    let good = Ok("payroll".to_owned());
    for (claims, expected) in [
        (claims(), good.clone()),
        (with("aud", json!(["elsewhere", "other-name"])), good.clone()),
        (with("aud", "zoho-gateway-2"), Err(BadToken::Audience)),
        (with("aud", json!([])), Err(BadToken::Audience)),
        (without("aud"), Err(BadToken::Audience)),
        (with("aud", 7), Err(BadToken::Claims)),
        // Two clocks may differ by 30 s.
        (with("exp", NOW - 29), good.clone()),
        (with("exp", NOW - 30), Err(BadToken::Expired)),
        (with("exp", 0), Err(BadToken::Expired)),
        (with("exp", -1e300), Err(BadToken::Expired)),
        (with("exp", NOW as f64 + 0.5), good.clone()),
        (with("exp", 1e300), good.clone()),
        (with("exp", (NOW + 60).to_string()), Err(BadToken::Claims)),
        (without("exp"), Err(BadToken::NoExpiry)),
        (with("nbf", NOW + 30), good.clone()),
        (with("nbf", NOW + 31), Err(BadToken::NotYetValid)),
        (with("nbf", (NOW + 31).to_string()), Err(BadToken::Claims)),
        (with("iat", NOW + 30), good.clone()),
        (with("iat", NOW + 31), Err(BadToken::NotYetValid)),
        (with("iss", "https://issuer.example.org/"), Err(BadToken::UnknownIssuer)),
        (with("iss", json!([ISSUER])), Err(BadToken::Claims)),
        (without("iss"), Err(BadToken::UnknownIssuer)),
        (with("sub", json!(["payroll"])), Err(BadToken::Claims)),
    ] {
        assert_eq!(checked(&issuers, &signer.sign(&claims)), expected, "{claims}");
    }
}

#[test]
fn only_published_keys_and_allowed_algorithms_count() {
    let (one, other, forger) = (Signer::es256("one"), Signer::es256("other"), Signer::es256("one"));
    let ours = issuers(&[&one, &other], &every_algorithm());
    let header = |kid: Option<&str>| Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::ES256) };
    assert_eq!(checked(&ours, &one.sign(&claims())).as_deref(), Ok("payroll"));
    assert_eq!(checked(&ours, &forger.sign(&claims())), Err(BadToken::Signature), "under the name of another key");
    assert_eq!(checked(&ours, &one.sign_with(&header(Some("new")), &claims())), Err(BadToken::UnknownKey));
    assert_eq!(checked(&ours, &one.sign_with(&header(None), &claims())), Err(BadToken::AmbiguousKey));
    let alone = issuers(&[&one], &every_algorithm());
    assert_eq!(checked(&alone, &one.sign_with(&header(None), &claims())).as_deref(), Ok("payroll"));
    let narrow = issuers(&[&one], &[Algorithm::RS256, Algorithm::EdDSA]);
    assert_eq!(checked(&narrow, &one.sign(&claims())), Err(BadToken::Algorithm));

    // A key in the header is the sender's, not the issuer's.
    let jwk = Some(serde_json::from_value(forger.jwk()).unwrap());
    let own = Header { jwk, jku: Some("https://evil.example.org/".to_owned()), ..header(Some("one")) };
    assert_eq!(checked(&ours, &forger.sign_with(&own, &claims())), Err(BadToken::Signature));
    let critical = Header { crit: Some(vec!["b64".to_owned()]), ..header(Some("one")) };
    assert_eq!(checked(&ours, &one.sign_with(&critical, &claims())), Err(BadToken::Critical));
}

#[test]
fn a_public_key_does_not_sign() {
    let signer = Signer::es256("one");
    let issuers = issuers(&[&signer], &every_algorithm());
    for secret in [signer.jwk().to_string(), signer.jwk()["x"].as_str().unwrap().to_owned(), String::new()] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let header = Header { kid: Some("one".to_owned()), ..Header::new(algorithm) };
            let token = encode(&header, &claims(), &EncodingKey::from_secret(secret.as_bytes())).unwrap();
            assert_eq!(checked(&issuers, &token), Err(BadToken::Algorithm));
        }
    }
}

#[test]
fn malformed_tokens_are_rejected() {
    let signer = Signer::es256("one");
    let issuers = issuers(&[&signer], &every_algorithm());
    let good = signer.sign(&claims());
    let (head, payload, signature) = parts(&good);
    for (text, expected) in [
        ("..".to_owned(), BadToken::Header),
        // {"alg":"none"} with the same claims.
        (format!("eyJhbGciOiJub25lIn0.{payload}."), BadToken::Header),
        (format!("e30.{payload}.{signature}"), BadToken::Header),
        (format!("{head}.e30.{signature}"), BadToken::UnknownIssuer),
        (format!("{head}.bm9uc2Vuc2U.{signature}"), BadToken::Claims),
        // {"iss":"a","iss":"a"}: two readers could read two issuers.
        (format!("{head}.eyJpc3MiOiJhIiwiaXNzIjoiYSJ9.{signature}"), BadToken::Claims),
        (format!("{head}.{payload}.{}", "A".repeat(9000)), BadToken::TooLong),
    ] {
        assert_eq!(checked(&issuers, &text), Err(expected), "{text}");
    }
}

#[test]
fn a_token_has_three_parts_in_base64url() {
    for text in ["a.b.c", "a.b.", "..", "aZ0-_.aZ0-_.aZ0-_"] {
        assert_eq!(as_jwt(text.as_bytes()), Some(text));
    }
    for text in ["", "zgw_abc", "a.b", "a.b.c.d", "a.b.c=", "a.b.c+", "a b.c.d", "a.b.\u{e9}"] {
        assert_eq!(as_jwt(text.as_bytes()), None, "{text}");
    }
    assert_eq!(as_jwt(b"a.b.\xff"), None);
}
