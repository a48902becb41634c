//! Whom the gateway believes to be Zoho.

use std::{path::Path, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

/// An extra trust root that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("upstream.ca_file {}: {message}", path.display())]
pub struct RootsError {
    path: PathBuf,
    message: String,
}

/// Mozilla's roots, bundled, and those of `ca_file`.
///
/// # Errors
/// When `ca_file` is unreadable, holds no certificate, or one that cannot be a trust root.
pub fn roots(ca_file: Option<&Path>) -> Result<ClientConfig, RootsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        let fault = |message: String| RootsError { path: path.to_owned(), message };
        let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| fault(format!("expected PEM certificates: {error}")))?;
        if certificates.is_empty() {
            return Err(fault("expected PEM certificates, found none".into()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| fault(format!("not usable as a trust root: {error}")))?;
        }
    }
    // The provider is named here, so no process-wide default has to be installed first.
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| RootsError { path: PathBuf::new(), message: error.to_string() })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
