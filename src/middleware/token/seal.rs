//! Encrypts access tokens for the disk.
//!
//! The key is derived (HKDF, RFC 5869) from client secret and refresh token. So a stolen store reveals nothing, and a token
//! of changed credentials cannot be read.

use std::time::Duration;

use super::grant::Granted;
use crate::{
    secret::{
        Secret, hex,
        sealer::{self, Sealer},
    },
    zoho::account::Account,
};

/// Changes with the format of the sealed text, so that an old text is never misread.
const PURPOSE: &[u8] = b"zoho-gateway access token 2";

/// Seals and opens tokens with an account's present credentials.
pub(super) struct Seal(Sealer);

/// Changes with [`PURPOSE`], so that the two keys have nothing in common.
const NAMING: &[u8] = b"zoho-gateway credentials 1";

/// The lifetime that marks rejected credentials; no token lives that long.
const REJECTED: u64 = u64::MAX;

/// The kept outcome of an account's last token request.
#[derive(Debug)]
pub(super) enum Unsealed {
    /// The request brought a token.
    Token {
        access_token: Secret,
        /// Its whole lifetime when it was granted.
        lifetime: Duration,
        /// Its scopes, separated by spaces, if Zoho named them.
        scope: Option<String>,
    },
    /// Zoho rejected the credentials, with this reason.
    Rejected(String),
}

impl Seal {
    /// `None` only if the cryptographic library fails, which no input causes.
    pub(super) fn of(account: &Account) -> Option<Self> {
        let (secret, info) = credentials(account);
        Sealer::derive(PURPOSE, &secret, &info).map(Self)
    }

    /// Seals the lifetime, the token, and on a second line the scopes.
    pub(super) fn seal(&self, granted: &Granted) -> Option<Vec<u8>> {
        let mut text = granted.lifetime.as_secs().to_be_bytes().to_vec();
        text.extend_from_slice(granted.access_token.expose().as_bytes());
        if let Some(scope) = &granted.scope {
            // A token fits into a header, so it holds no line break.
            text.push(b'\n');
            text.extend_from_slice(scope.as_bytes());
        }
        self.0.seal(text, "")
    }

    /// Seals the reason why Zoho rejected the credentials, so that the next process does not ask again.
    pub(super) fn seal_rejection(&self, reason: &str) -> Option<Vec<u8>> {
        self.0.seal([&REJECTED.to_be_bytes(), reason.as_bytes()].concat(), "")
    }

    /// Opens a sealed text; `None` if it was sealed with other credentials or changed.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Unsealed> {
        let mut opened = self.0.open(sealed, "")?;
        let (lifetime, token) = opened.split_first_chunk::<8>()?;
        let text = std::str::from_utf8(token).ok()?;
        if u64::from_be_bytes(*lifetime) == REJECTED {
            return Some(Unsealed::Rejected(text.to_owned()));
        }
        let (token, scope) =
            text.split_once('\n').map_or((text, None), |(token, scope)| (token, Some(scope.to_owned())));
        let access_token = Secret::from(token);
        let lifetime = Duration::from_secs(u64::from_be_bytes(*lifetime));
        opened.fill(0);
        Some(Unsealed::Token { access_token, lifetime, scope })
    }
}

/// A name for an account's present credentials that reveals nothing about them.
pub(super) fn credentials_name(account: &Account) -> Option<String> {
    let (secret, info) = credentials(account);
    Some(hex::lower(&sealer::name(NAMING, &secret, &info)?[..16]))
}

/// An account's present credentials, and whose they are.
fn credentials(account: &Account) -> (Secret, String) {
    let (client_secret, refresh_token) = (account.client_secret.current(), account.refresh_token.current());
    let server = account.endpoints.accounts.authority().as_str();
    // Neither holds a line break, so different pairs give different texts.
    let secret = Secret::new(format!("{}\n{}", client_secret.expose(), refresh_token.expose()));
    (secret, [account.name.as_str(), &account.client_id, server].join("\n"))
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
        let refusal = Seal::of(&account("a", "b")).unwrap().seal_rejection("invalid_code").unwrap();
        let opened = Seal::of(&account("a", "b")).unwrap().open(&refusal);
        assert!(matches!(opened, Some(Unsealed::Rejected(reason)) if reason == "invalid_code"));
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
    fn each_pair_of_credentials_has_a_name() {
        let name = |client_secret, refresh_token| credentials_name(&account(client_secret, refresh_token)).unwrap();
        assert_eq!(name("a", "b"), name("a", "b"));
        assert!(name("a", "b").len() == 32 && name("a", "b") != name("a", "x") && name("a", "b") != name("x", "b"));
    }

    #[test]
    fn sealing_twice_gives_different_texts() {
        let seal = Seal::of(&account("a", "b")).unwrap();
        assert_ne!(seal.seal(&granted("t", None)), seal.seal(&granted("t", None)));
    }

    #[test]
    fn keeps_the_scopes_with_the_token() {
        let seal = Seal::of(&account("a", "b")).unwrap();
        for scope in [None, Some(""), Some("P.a.READ P.b.ALL")] {
            let opened = seal.open(&seal.seal(&granted("1000.x", scope)).unwrap()).unwrap();
            let Unsealed::Token { access_token, scope: kept, .. } = opened else { panic!("a token") };
            assert_eq!((access_token.expose(), kept.as_deref()), ("1000.x", scope));
        }
    }
}
