//! What a certificate says: its names and its expiry.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::call::peer::SubjectName;

/// The subject alternative names of the first certificate in a verified chain.
pub(super) fn names(chain: Option<&[CertificateDer<'_>]>) -> Arc<[SubjectName]> {
    let Some(Ok(certificate)) = chain.and_then(<[_]>::first).map(EndEntityCert::try_from) else {
        return Arc::default();
    };
    let dns = certificate.valid_dns_names().map(|name| SubjectName::Dns(name.to_ascii_lowercase()));
    let uris = certificate.valid_uri_names().map(|name| SubjectName::Uri(name.to_owned()));
    dns.chain(uris).collect()
}

/// When a certificate expires, if that is known.
pub(super) fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    // webpki shows the date only in its error for an expired certificate. So this verifies at the end of time, and
    // without any authority, because webpki checks the date first.
    let end_of_time = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    match certificate.verify_for_usage(&[], &[], &[], end_of_time, KeyUsage::server_auth(), None, None) {
        Err(Error::CertExpired { not_after, .. }) => {
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(not_after.as_secs()))
        }
        _ => None,
    }
}
