//! The PEM files that TLS is made of. No message repeats anything of what they hold.

use std::{path::Path, sync::Arc};

use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error, PemObject},
    },
    server::ParsedCertificate,
    sign::SigningKey,
};

use crate::secret::{
    SecretBytes,
    pem::{self, UnusablePem},
};

/// One of the files, by the key that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsFile {
    /// The gateway's certificate, its issuers behind it.
    Cert,
    /// The certificate's private key.
    Key,
    /// The authorities whose certificates callers may show.
    ClientCa,
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read, or holds other things than it should.
    #[error(transparent)]
    Pem(#[from] UnusablePem),
    /// A key that somebody would have to type a passphrase for.
    #[error("holds a key with a passphrase; expected one without: openssl pkey -in OLD -out NEW")]
    Encrypted,
    /// A key that the provider cannot sign with.
    #[error("holds a key of a kind that is not supported; expected RSA, ECDSA (P-256, P-384, P-521) or Ed25519")]
    KeyKind,
    /// Key and certificate do not belong together.
    #[error("is not the key of the first certificate in the file of cert")]
    Mismatch,
}

const A_KEY: &str = "private key (BEGIN PRIVATE KEY)";

impl TlsFile {
    /// The key below `proxy.tls`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Cert => "cert",
            Self::Key => "key",
            Self::ClientCa => "client_ca",
        }
    }

    /// Whether the file at `path` can be this one, as far as it tells by itself.
    ///
    /// # Errors
    /// [`Unusable`], when it cannot.
    pub fn check(self, path: &Path) -> Result<(), Unusable> {
        let pem = pem::read(path)?;
        match self {
            Self::Cert => chain(&pem).map(drop),
            Self::Key => key(&pem).map(drop),
            Self::ClientCa => Ok(pem::authorities(&pem).map(drop)?),
        }
    }
}

/// A certificate with its issuers behind it.
pub(super) fn chain(pem: &SecretBytes) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let chain = pem::certificates(pem)?;
    if let Some(Err(error)) = chain.first().map(ParsedCertificate::try_from) {
        return Err(UnusablePem::Certificate(error).into());
    }
    Ok(chain)
}

/// The first private key.
pub(super) fn key(pem: &SecretBytes) -> Result<Arc<dyn SigningKey>, Unusable> {
    // In the label of PKCS #8, in a header of the older form.
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    if pem.expose().windows(ENCRYPTED.len()).any(|bytes| bytes == ENCRYPTED) {
        return Err(Unusable::Encrypted);
    }
    let key = PrivateKeyDer::from_pem_slice(pem.expose()).map_err(|error| match error {
        Error::NoItemsFound => UnusablePem::Lacking(A_KEY),
        _ => UnusablePem::Malformed(A_KEY),
    })?;
    any_supported_type(&key).map_err(|_| Unusable::KeyKind)
}
