//! Certificates in PEM files (RFC 7468). Error messages never repeat the content.

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::secret::{
    SecretBytes,
    file_watch::{self, Unread},
};

/// Four times the size of all public certificate authorities together.
const LONGEST_FILE: u64 = 1024 * 1024;

/// The name of certificates in messages.
pub const CERTIFICATES: &str = "certificates (BEGIN CERTIFICATE)";

/// Why a PEM file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusablePem {
    /// It cannot be read.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// Something in it is truncated or malformed.
    #[error("is not well-formed PEM; expected {0}")]
    Malformed(&'static str),
    /// It does not hold the expected kind of item.
    #[error("holds no {0}")]
    Lacking(&'static str),
    /// The TLS library rejects a certificate.
    #[error("holds a certificate that is not usable: {0}")]
    Certificate(rustls::Error),
}

/// Reads a PEM file; it may hold a private key.
///
/// # Errors
/// [`UnusablePem::Unread`].
pub fn read(path: &Path) -> Result<SecretBytes, UnusablePem> {
    Ok(file_watch::read(path, LONGEST_FILE)?)
}

/// All certificates of a PEM text, at least one.
///
/// # Errors
/// [`UnusablePem`], when it holds no certificate or something malformed.
pub fn certificates(pem: &SecretBytes) -> Result<Vec<CertificateDer<'static>>, UnusablePem> {
    let certificates = CertificateDer::pem_slice_iter(pem.expose()).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(UnusablePem::Lacking(CERTIFICATES)),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(UnusablePem::Malformed(CERTIFICATES)),
    }
}

/// The certificate authorities of a PEM text, at least one.
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
