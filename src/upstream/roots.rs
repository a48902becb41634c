//! Whom the gateway believes to be Zoho.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Trust roots beside the bundled ones.
#[derive(Debug, Clone, Default)]
pub struct ExtraRoots(Vec<CertificateDer<'static>>);

/// A text that holds no usable trust roots.
#[derive(Debug, thiserror::Error)]
pub enum ExtraRootsError {
    /// Malformed PEM.
    #[error("expected PEM certificates: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// Nothing between `BEGIN CERTIFICATE` and `END CERTIFICATE`.
    #[error("expected PEM certificates, found none")]
    Empty,
    /// A certificate that cannot be a trust root.
    #[error("a certificate is not usable as a trust root: {0}")]
    Unusable(#[from] rustls::Error),
}

impl ExtraRoots {
    /// Reads PEM certificates.
    ///
    /// # Errors
    /// [`ExtraRootsError`], when there is none or one is unusable.
    pub fn parse(pem: &[u8]) -> Result<Self, ExtraRootsError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?;
        if certificates.is_empty() {
            return Err(ExtraRootsError::Empty);
        }
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store.add(certificate.clone())?;
        }
        Ok(Self(certificates))
    }
}

/// TLS with Mozilla's roots, bundled, and the extra ones.
///
/// # Panics
/// Never: the provider that is named here speaks TLS 1.2 and 1.3.
#[must_use]
pub fn tls(extra: &ExtraRoots) -> ClientConfig {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(extra.0.iter().cloned());
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
