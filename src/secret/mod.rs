//! Credentials that cannot be printed by accident and do not outlive their use in memory.

pub mod credential;
pub mod file_watch;
pub mod hex;
pub mod pem;
pub mod random;
pub mod sealer;

use std::fmt;

use secrecy::{ExposeSecret, SecretSlice, SecretString};

/// A client secret, a refresh token or an access token.
///
/// `Debug` prints `[redacted]`, there is no `Display`, and the text is overwritten with zeros when dropped. Code that
/// needs the text calls [`Secret::expose`], which is easy to find in a review.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes over the text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// The text, for code that must send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(SecretString::from(text))
    }
}

/// The content of a file that may be a secret.
#[derive(Clone)]
pub struct SecretBytes(SecretSlice<u8>);

impl SecretBytes {
    /// Takes over the bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(SecretSlice::from(bytes))
    }

    /// The bytes, for code that must parse them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cannot_be_printed() {
        #[derive(Debug)]
        struct Holder {
            #[expect(dead_code, reason = "read by the derived Debug alone")]
            token: Secret,
        }
        let token = Secret::from("1000.8cb99d");
        assert_eq!(format!("{token:?} {token:#?}"), "[redacted] [redacted]");
        assert_eq!(format!("{:?}", Holder { token }), "Holder { token: [redacted] }");
        assert_eq!(format!("{:?}", SecretBytes::new(b"1000.8cb99d".to_vec())), "[redacted]");
    }

    #[test]
    fn is_exposed_on_demand() {
        let token = Secret::new("1000.8cb99d".to_owned());
        assert_eq!(token.clone().expose(), "1000.8cb99d");
    }

    #[test]
    fn is_zeroised_on_drop() {
        fn promises<T: secrecy::zeroize::ZeroizeOnDrop>(_: &T) {}
        promises(&Secret::from("1000.8cb99d").0);
        promises(&SecretBytes::new(Vec::new()).0);
    }
}
