//! Certificates in PEM files (RFC 7468). No message repeats anything of what they hold.

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::secret::{
    SecretBytes,
    file_watch::{self, Unread},
};

/// All public authorities together take a quarter of it.
const LONGEST_FILE: u64 = 1024 * 1024;

/// What certificates are called in messages.
pub const CERTIFICATES: &str = "certificates (BEGIN CERTIFICATE)";

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum UnusablePem {
    /// It cannot be read.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// Something in it is cut off or misspelt.
    #[error("is no well-formed PEM text; expected {0}")]
    Malformed(&'static str),
    /// It holds other things than it should.
    #[error("holds no {0}")]
    Lacking(&'static str),
    /// A certificate of which the TLS library makes nothing.
    #[error("holds a certificate that is not usable: {0}")]
    Certificate(rustls::Error),
}

/// What a file holds; it may be a private key.
///
/// # Errors
/// [`UnusablePem::Unread`].
pub fn read(path: &Path) -> Result<SecretBytes, UnusablePem> {
    Ok(file_watch::read(path, LONGEST_FILE)?)
}

/// At least one certificate.
///
/// # Errors
/// [`UnusablePem`], when there is none or something in between is no PEM.
pub fn certificates(pem: &SecretBytes) -> Result<Vec<CertificateDer<'static>>, UnusablePem> {
    let certificates = CertificateDer::pem_slice_iter(pem.expose()).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(UnusablePem::Lacking(CERTIFICATES)),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(UnusablePem::Malformed(CERTIFICATES)),
    }
}

/// At least one authority whose certificates are believed.
///
/// # Errors
/// [`UnusablePem`], also when one of them cannot be an authority.
pub fn authorities(pem: &SecretBytes) -> Result<RootCertStore, UnusablePem> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(UnusablePem::Certificate)?;
    }
    Ok(store)
}
