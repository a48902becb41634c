//! The PEM files that TLS is made of (RFC 7468). No message repeats anything of what they hold.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use rustls::{
    RootCertStore,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::ParsedCertificate,
    sign::SigningKey,
};

use crate::secret::Secret;

/// All public authorities together take a quarter of it; a wrong path may lead to something endless.
const LONGEST_FILE: u64 = 1024 * 1024;

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
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unread(#[from] io::Error),
    /// It has more text than any such file.
    #[error("is too long to be what it should be")]
    TooLong,
    /// Something in it is cut off or misspelt.
    #[error("is no well-formed PEM text; expected {0}")]
    Malformed(&'static str),
    /// It holds other things than it should.
    #[error("holds no {0}")]
    Lacking(&'static str),
    /// A key that somebody would have to type a passphrase for.
    #[error("holds a key with a passphrase; expected one without: openssl pkey -in OLD -out NEW")]
    Encrypted,
    /// A key that the provider cannot sign with.
    #[error("holds a key of a kind that is not supported; expected RSA, ECDSA (P-256, P-384, P-521) or Ed25519")]
    KeyKind,
    /// Key and certificate do not belong together.
    #[error("is not the key of the first certificate in the file of cert")]
    Mismatch,
    /// A certificate of which the TLS library makes nothing.
    #[error("holds a certificate that is not usable: {0}")]
    Certificate(rustls::Error),
}

pub(super) const CERTIFICATES: &str = "certificates (BEGIN CERTIFICATE)";
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
        let text = read(path)?;
        match self {
            Self::Cert => chain(&text).map(drop),
            Self::Key => key(&text).map(drop),
            Self::ClientCa => authorities(&text).map(drop),
        }
    }
}

/// A file's text.
pub(super) fn read(path: &Path) -> Result<Secret, Unusable> {
    let mut text = String::new();
    let length = File::open(path)?.take(LONGEST_FILE + 1).read_to_string(&mut text);
    let text = Secret::new(text);
    if length? as u64 > LONGEST_FILE { Err(Unusable::TooLong) } else { Ok(text) }
}

/// At least one certificate.
fn certificates(text: &Secret) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let certificates = CertificateDer::pem_slice_iter(text.expose().as_bytes()).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(Unusable::Lacking(CERTIFICATES)),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(Unusable::Malformed(CERTIFICATES)),
    }
}

/// A certificate with its issuers behind it.
pub(super) fn chain(text: &Secret) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let chain = certificates(text)?;
    if let Some(Err(error)) = chain.first().map(ParsedCertificate::try_from) {
        return Err(Unusable::Certificate(error));
    }
    Ok(chain)
}

/// The first private key.
pub(super) fn key(text: &Secret) -> Result<Arc<dyn SigningKey>, Unusable> {
    // In the label of PKCS #8, in a header of the older form.
    if text.expose().contains("ENCRYPTED") {
        return Err(Unusable::Encrypted);
    }
    let key = PrivateKeyDer::from_pem_slice(text.expose().as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => Unusable::Lacking(A_KEY),
        _ => Unusable::Malformed(A_KEY),
    })?;
    any_supported_type(&key).map_err(|_| Unusable::KeyKind)
}

/// At least one authority.
pub(super) fn authorities(text: &Secret) -> Result<RootCertStore, Unusable> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(text)? {
        store.add(certificate).map_err(Unusable::Certificate)?;
    }
    Ok(store)
}
