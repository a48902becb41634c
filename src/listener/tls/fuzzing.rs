//! Any certificate: its names stand in it as they are told.

use rustls::pki_types::CertificateDer;

use super::certificate;
use crate::call::peer::SubjectName;

/// Reads a certificate in DER.
pub fn certificate(der: &[u8]) {
    let shown = [CertificateDer::from(der)];
    let lower = der.to_ascii_lowercase();
    let stands_in = |text: &str, der: &[u8]| text.is_empty() || der.windows(text.len()).any(|at| at == text.as_bytes());
    for name in certificate::names(Some(&shown)).iter() {
        match name {
            SubjectName::Dns(name) => {
                assert!(stands_in(name, &lower) && !name.bytes().any(|byte| byte.is_ascii_uppercase()), "{name:?}");
                assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
            }
            SubjectName::Uri(uri) => assert!(stands_in(uri, der), "{uri:?}"),
        }
    }
    // The date is read with care, or not at all.
    let _ = certificate::end(&shown[0]);
}
