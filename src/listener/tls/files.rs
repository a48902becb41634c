//! Reads the PEM files of TLS. Messages never repeat their contents.

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

/// One of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsFile {
    /// The gateway's certificate, followed by its issuers.
    Cert,
    /// The certificate's private key.
    Key,
    /// The authorities that verify callers' certificates.
    ClientCa,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// It cannot be read, or does not hold the expected PEM.
    #[error(transparent)]
    Pem(#[from] UnusablePem),
    /// Its key has a passphrase.
    #[error("holds a key with a passphrase; expected one without: openssl pkey -in OLD -out NEW")]
    Encrypted,
    /// The provider does not support its kind of key.
    #[error("holds a key of a kind that is not supported; expected RSA, ECDSA (P-256, P-384, P-521) or Ed25519")]
    KeyKind,
    /// It is not the key of the certificate.
    #[error("is not the key of the first certificate in the file of cert")]
    Mismatch,
}

const A_KEY: &str = "private key (BEGIN PRIVATE KEY)";

impl TlsFile {
    /// The configuration key in its table.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Cert => "cert",
            Self::Key => "key",
            Self::ClientCa => "client_ca",
        }
    }

    /// Checks the file at `path` without the other files.
    ///
    /// # Errors
    /// [`TlsFileError`], if it cannot be used.
    pub fn check(self, path: &Path) -> Result<(), TlsFileError> {
        let pem = pem::read(path)?;
        match self {
            Self::Cert => chain(&pem).map(drop),
            Self::Key => key(&pem).map(drop),
            Self::ClientCa => Ok(pem::authorities(&pem).map(drop)?),
        }
    }
}

/// A certificate, followed by its issuers.
pub(super) fn chain(pem: &SecretBytes) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let chain = pem::certificates(pem)?;
    if let Some(Err(error)) = chain.first().map(ParsedCertificate::try_from) {
        return Err(UnusablePem::Certificate(error).into());
    }
    Ok(chain)
}

/// The first private key.
pub(super) fn key(pem: &SecretBytes) -> Result<Arc<dyn SigningKey>, TlsFileError> {
    // PKCS #8 has it in the label, the older form in a header.
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    if pem.expose().windows(ENCRYPTED.len()).any(|bytes| bytes == ENCRYPTED) {
        return Err(TlsFileError::Encrypted);
    }
    let key = PrivateKeyDer::from_pem_slice(pem.expose()).map_err(|error| match error {
        Error::NoItemsFound => UnusablePem::Lacking(A_KEY),
        _ => UnusablePem::Malformed(A_KEY),
    })?;
    any_supported_type(&key).map_err(|_| TlsFileError::KeyKind)
}
