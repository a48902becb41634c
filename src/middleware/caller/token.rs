//! A JSON Web Token (RFC 7519), signed (RFC 7515), read with the care of RFC 8725.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, Header, crypto, dangerous::insecure_decode_claims, decode_header};
use serde::Deserialize;

use super::jwks::Key;
use crate::problem::BadToken;

/// Far more than any issuer puts into one; a longer one is not worth a hash.
const LONGEST: usize = 8 * 1024;

/// How far the clocks of issuer and gateway may stand apart.
const LEEWAY: Duration = Duration::from_secs(30);

/// A token, understood and not yet believed. Without `Debug`, so that no log shows it by accident.
pub(super) struct Token<'a> {
    text: &'a str,
    header: Header,
    claims: Claims,
}

/// What it says. Duplicate members are an error, so that nobody else can read it differently.
#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
}

/// RFC 7519 section 4.1.3: one or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Whether it has the form of a token: three parts in the alphabet of base64url.
pub(super) fn looks_like_one(bearer: &[u8]) -> Option<&str> {
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
        // No extension is understood, so none may be critical (RFC 7515 section 4.1.11).
        if header.crit.is_some() {
            return Err(BadToken::Critical);
        }
        let claims = insecure_decode_claims(text).map_err(|_| BadToken::Claims)?;
        Ok(Self { text, header, claims })
    }

    /// Who says that it made the token.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.iss.as_deref()
    }

    /// For whom it speaks.
    pub(super) fn subject(&self) -> Option<&str> {
        self.claims.sub.as_deref()
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.header.alg
    }

    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// Whether it is for one of these and at this time.
    pub(super) fn is_for(&self, audiences: &[String], now: SystemTime) -> Result<(), BadToken> {
        let ours = |audience: &String| audiences.contains(audience);
        let meant = match &self.claims.aud {
            Some(Audience::One(audience)) => ours(audience),
            Some(Audience::Several(several)) => several.iter().any(ours),
            None => false,
        };
        if !meant {
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

    /// Whether this key signed it, which has to be one that the algorithm fits.
    pub(super) fn is_signed_by(&self, key: &Key) -> Result<(), BadToken> {
        let (message, signature) = self.text.rsplit_once('.').ok_or(BadToken::Signature)?;
        // Only the signature: for the claims the crate would read a clock of its own.
        match crypto::verify(signature, message.as_bytes(), &key.verifier, self.header.alg) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(BadToken::Signature),
        }
    }
}
