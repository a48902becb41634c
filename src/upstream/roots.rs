//! TLS towards servers, and the certificate authorities that the gateway trusts.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::TrustAnchor};

use crate::secret::pem::{self, UnusablePem};

/// Trusted roots in addition to the bundled ones.
#[derive(Debug, Clone, Default)]
pub struct ExtraRoots(Vec<TrustAnchor<'static>>);

impl ExtraRoots {
    /// Reads a PEM file.
    ///
    /// # Errors
    /// [`UnusablePem`], when it holds no certificate or an unusable one.
    pub fn in_file(path: &Path) -> Result<Self, UnusablePem> {
        Ok(Self(pem::authorities(&pem::read(path)?)?.roots))
    }
}

/// TLS with Mozilla's bundled roots and the extra ones.
///
/// # Panics
/// Never: aws-lc-rs supports TLS 1.2 and 1.3.
#[must_use]
pub fn tls(extra: &ExtraRoots) -> ClientConfig {
    let roots = webpki_roots::TLS_SERVER_ROOTS.iter().chain(&extra.0).cloned().collect();
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs speaks TLS 1.2 and 1.3")
        .with_root_certificates(RootCertStore { roots })
        .with_no_client_auth()
}
