//! Signed JSON Web Tokens (RFC 7519, RFC 7515), checked as RFC 8725 recommends.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, Header, crypto, dangerous::insecure_decode_claims, decode_header};
use serde::Deserialize;

use super::jwks::Key;
use crate::problem::BadToken;

/// Far longer than any issuer's tokens.
const LONGEST: usize = 8 * 1024;

/// How much the clocks of issuer and gateway may differ.
const LEEWAY: Duration = Duration::from_secs(30);

/// A parsed token whose signature is not verified yet. No `Debug`, so that no log shows it by accident.
pub(super) struct Token<'a> {
    text: &'a str,
    header: Header,
    claims: Claims,
}

/// The claims of a token. Duplicate members are an error, because another reader could read them differently.
#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
}

/// One audience or several (RFC 7519 section 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// The text, if it has the form of a JWT: three parts in the alphabet of base64url.
pub(super) fn as_jwt(bearer: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bearer).ok()?;
    let fits = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    (text.split('.').count() == 3 && text.split('.').all(fits)).then_some(text)
}

impl<'a> Token<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, BadToken> {
        if text.len() > LONGEST {
            return Err(BadToken::TooLong);
        }
        let header = decode_header(text).map_err(|_| BadToken::Header)?;
        // The gateway supports no extension, so none may be critical (RFC 7515 section 4.1.11).
        if header.crit.is_some() {
            return Err(BadToken::Critical);
        }
        let claims = insecure_decode_claims(text).map_err(|_| BadToken::Claims)?;
        Ok(Self { text, header, claims })
    }

    /// The issuer that the token names.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.iss.as_deref()
    }

    /// The subject that the token names.
    pub(super) fn subject(&self) -> Option<&str> {
        self.claims.sub.as_deref()
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.header.alg
    }

    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// Checks audience and times.
    pub(super) fn check_claims(&self, audiences: &[String], now: SystemTime) -> Result<(), BadToken> {
        let ours = |audience: &String| audiences.contains(audience);
        let for_us = match &self.claims.aud {
            Some(Audience::One(audience)) => ours(audience),
            Some(Audience::Several(several)) => several.iter().any(ours),
            None => false,
        };
        if !for_us {
            return Err(BadToken::Audience);
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = LEEWAY.as_secs_f64();
        if now >= self.claims.exp.ok_or(BadToken::NoExpiry)? + leeway {
            return Err(BadToken::Expired);
        }
        let begins = [self.claims.nbf, self.claims.iat].into_iter().flatten();
        if begins.fold(f64::MIN, f64::max) > now + leeway { Err(BadToken::NotYetValid) } else { Ok(()) }
    }

    /// Verifies the signature with a key that fits the token's algorithm.
    pub(super) fn verify(&self, key: &Key) -> Result<(), BadToken> {
        let (message, signature) = self.text.rsplit_once('.').ok_or(BadToken::Signature)?;
        // The signature only: for the claims, the crate would read its own clock.
        match crypto::verify(signature, message.as_bytes(), &key.verifier, self.header.alg) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(BadToken::Signature),
        }
    }
}
