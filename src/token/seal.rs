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

use crate::{account::Account, secret::Secret};

/// Changes with what is sealed, so that nothing is misread.
const PURPOSE: &[u8] = b"zoho-gateway access token 1";

/// Seals and opens the tokens of one account and its present credentials.
pub(super) struct Seal(LessSafeKey);

/// A token as it is kept.
#[derive(Debug)]
pub(super) struct Unsealed {
    pub(super) access_token: Secret,
    /// How long it lived in all when it was granted.
    pub(super) lifetime: Duration,
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

    /// A fresh nonce, then the sealed lifetime and token.
    pub(super) fn seal(&self, access_token: &Secret, lifetime: Duration) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut text = lifetime.as_secs().to_be_bytes().to_vec();
        text.extend_from_slice(access_token.expose().as_bytes());
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text).ok()?;
        Some([nonce.as_slice(), &text].concat())
    }

    /// `None` for what was sealed for other credentials, or altered.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Unsealed> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let opened = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut text).ok()?;
        let (lifetime, token) = opened.split_first_chunk::<8>()?;
        let access_token = Secret::from(std::str::from_utf8(token).ok()?);
        let lifetime = Duration::from_secs(u64::from_be_bytes(*lifetime));
        opened.fill(0);
        Some(Unsealed { access_token, lifetime })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{call::tests::call_of, credential::Credential};

    fn account(client_secret: &str, refresh_token: &str) -> Account {
        let account = call_of("main", "/").subject.account;
        Account {
            client_secret: Credential::written(Secret::from(client_secret)).unwrap(),
            refresh_token: Credential::written(Secret::from(refresh_token)).unwrap(),
            ..Account::clone(&account)
        }
    }

    #[test]
    fn only_the_same_credentials_open_a_token() {
        let token = Secret::from("1000.8cb99d.46df");
        let sealed = Seal::of(&account("a", "b")).unwrap().seal(&token, Duration::from_secs(3600)).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("8cb99d"));
        let opened = Seal::of(&account("a", "b")).unwrap().open(&sealed).unwrap();
        assert_eq!((opened.access_token.expose(), opened.lifetime.as_secs()), ("1000.8cb99d.46df", 3600));
        for other in [account("x", "b"), account("a", "x"), account("ab", "b")] {
            assert!(Seal::of(&other).unwrap().open(&sealed).is_none());
        }
        let renamed = Account { name: crate::account::AccountName::new("other"), ..account("a", "b") };
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
        let (seal, token) = (Seal::of(&account("a", "b")).unwrap(), Secret::from("t"));
        assert_ne!(seal.seal(&token, Duration::ZERO), seal.seal(&token, Duration::ZERO));
    }
}
