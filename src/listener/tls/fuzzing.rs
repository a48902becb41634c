//! Any bytes as a certificate: each name that is read is in the certificate.

use rustls::pki_types::CertificateDer;

use super::certificate;
use crate::call::peer::SubjectName;

/// Reads a certificate in DER.
pub fn certificate(der: &[u8]) {
    let chain = [CertificateDer::from(der)];
    let lower = der.to_ascii_lowercase();
    let is_in = |text: &str, der: &[u8]| text.is_empty() || der.windows(text.len()).any(|at| at == text.as_bytes());
    for name in certificate::names(Some(&chain)).iter() {
        match name {
            SubjectName::Dns(name) => {
                assert!(is_in(name, &lower) && !name.bytes().any(|byte| byte.is_ascii_uppercase()), "{name:?}");
                assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
            }
            SubjectName::Uri(uri) => assert!(is_in(uri, der), "{uri:?}"),
        }
    }
    // Must not panic.
    let _ = certificate::expiry(&chain[0]);
}
