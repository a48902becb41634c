//! Access tokens on the disk, readable only for whoever has the credentials they were granted for.
//!
//! The key is derived (HKDF, RFC 5869) from client secret and refresh token. So a store that falls into other hands
//! tells nothing, and a token of credentials that have since been changed cannot even be read by us.

use std::time::Duration;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand,
};

use super::grant::Granted;
use crate::{secret::Secret, zoho::account::Account};

/// Changes with what is sealed, so that nothing is misread.
const PURPOSE: &[u8] = b"zoho-gateway access token 2";

/// Seals and opens the tokens of one account and its present credentials.
pub(super) struct Seal(LessSafeKey);

/// What stands in a lifetime's place before a refusal; no token lives that long.
const REFUSED: u64 = u64::MAX;

/// What is kept of an account's last token request.
#[derive(Debug)]
pub(super) enum Unsealed {
    /// It brought a token.
    Token {
        access_token: Secret,
        /// How long it lived in all when it was granted.
        lifetime: Duration,
        /// What it may be used for, if Zoho said.
        scope: Option<String>,
    },
    /// Zoho refused the credentials, with this reason.
    Refused(String),
}

impl Seal {
    /// `None` only when the cryptography fails, which no input makes it do.
    pub(super) fn of(account: &Account) -> Option<Self> {
        let (client_secret, refresh_token) = (account.client_secret.current(), account.refresh_token.current());
        // Neither holds a line break, so no two pairs are written alike.
        let secret = Secret::new(format!("{}\n{}", client_secret.expose(), refresh_token.expose()));
        let server = account.endpoints.accounts.authority().as_str();
        let info = [account.name.as_str(), &account.client_id, server].join("\n");
        let key = Salt::new(HKDF_SHA256, PURPOSE).extract(secret.expose().as_bytes());
        let info = [info.as_bytes()];
        let key = key.expand(&info, &AES_256_GCM).ok()?;
        Some(Self(LessSafeKey::new(UnboundKey::from(key))))
    }

    /// The lifetime and the token, and the scopes on a line of their own.
    pub(super) fn seal(&self, granted: &Granted) -> Option<Vec<u8>> {
        let mut text = granted.lifetime.as_secs().to_be_bytes().to_vec();
        text.extend_from_slice(granted.access_token.expose().as_bytes());
        if let Some(scope) = &granted.scope {
            // A token goes into a header, so it holds no line break.
            text.push(b'\n');
            text.extend_from_slice(scope.as_bytes());
        }
        self.closed(text)
    }

    /// That Zoho refused the credentials: another process with the same ones need not ask again.
    pub(super) fn seal_refusal(&self, reason: &str) -> Option<Vec<u8>> {
        self.closed([&REFUSED.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// A fresh nonce, and the sealed text behind it.
    fn closed(&self, mut text: Vec<u8>) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text).ok()?;
        Some([nonce.as_slice(), &text].concat())
    }

    /// `None` for what was sealed for other credentials, or altered.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Unsealed> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let opened = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut text).ok()?;
        let (lifetime, token) = opened.split_first_chunk::<8>()?;
        let text = std::str::from_utf8(token).ok()?;
        if u64::from_be_bytes(*lifetime) == REFUSED {
            return Some(Unsealed::Refused(text.to_owned()));
        }
        let (token, scope) =
            text.split_once('\n').map_or((text, None), |(token, scope)| (token, Some(scope.to_owned())));
        let access_token = Secret::from(token);
        let lifetime = Duration::from_secs(u64::from_be_bytes(*lifetime));
        opened.fill(0);
        Some(Unsealed::Token { access_token, lifetime, scope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{call::tests::call_of, secret::credential::Credential};

    fn account(client_secret: &str, refresh_token: &str) -> Account {
        let account = call_of("main", "/").context.account;
        Account {
            client_secret: Credential::written(Secret::from(client_secret)).unwrap(),
            refresh_token: Credential::written(Secret::from(refresh_token)).unwrap(),
            ..Account::clone(&account)
        }
    }

    fn granted(token: &str, scope: Option<&str>) -> Granted {
        let lifetime = Duration::from_secs(3600);
        let expires_at = crate::os::clock::now() + lifetime;
        Granted { access_token: Secret::from(token), expires_at, lifetime, scope: scope.map(str::to_owned) }
    }

    #[test]
    fn only_the_same_credentials_open_a_token() {
        let sealed = Seal::of(&account("a", "b")).unwrap().seal(&granted("1000.8cb99d.46df", None)).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("8cb99d"));
        let opened = Seal::of(&account("a", "b")).unwrap().open(&sealed).unwrap();
        let Unsealed::Token { access_token, lifetime, .. } = opened else { panic!("a token") };
        assert_eq!((access_token.expose(), lifetime.as_secs()), ("1000.8cb99d.46df", 3600));
        let refusal = Seal::of(&account("a", "b")).unwrap().seal_refusal("invalid_code").unwrap();
        let opened = Seal::of(&account("a", "b")).unwrap().open(&refusal);
        assert!(matches!(opened, Some(Unsealed::Refused(reason)) if reason == "invalid_code"));
        for other in [account("x", "b"), account("a", "x"), account("ab", "b")] {
            assert!(Seal::of(&other).unwrap().open(&sealed).is_none());
        }
        let renamed = Account { name: crate::zoho::account::AccountName::new("other"), ..account("a", "b") };
        assert!(Seal::of(&renamed).unwrap().open(&sealed).is_none());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(Seal::of(&account("a", "b")).unwrap().open(&altered).is_none(), "byte {at}");
            assert!(Seal::of(&account("a", "b")).unwrap().open(&sealed[..at]).is_none(), "{at} bytes");
        }
    }

    #[test]
    fn the_same_token_is_never_sealed_alike() {
        let seal = Seal::of(&account("a", "b")).unwrap();
        assert_ne!(seal.seal(&granted("t", None)), seal.seal(&granted("t", None)));
    }

    #[test]
    fn what_was_granted_is_kept_with_the_token() {
        let seal = Seal::of(&account("a", "b")).unwrap();
        for scope in [None, Some(""), Some("P.a.READ P.b.ALL")] {
            let opened = seal.open(&seal.seal(&granted("1000.x", scope)).unwrap()).unwrap();
            let Unsealed::Token { access_token, scope: kept, .. } = opened else { panic!("a token") };
            assert_eq!((access_token.expose(), kept.as_deref()), ("1000.x", scope));
        }
    }
}
