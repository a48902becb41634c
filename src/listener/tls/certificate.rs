//! What a certificate says: whose it is, and until when.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::call::peer::SubjectName;

/// The subject alternative names of a certificate that was verified; the first of what the other side showed.
pub(super) fn names(shown: Option<&[CertificateDer<'_>]>) -> Arc<[SubjectName]> {
    let Some(Ok(certificate)) = shown.and_then(<[_]>::first).map(EndEntityCert::try_from) else {
        return Arc::default();
    };
    let dns = certificate.valid_dns_names().map(|name| SubjectName::Dns(name.to_ascii_lowercase()));
    let uris = certificate.valid_uri_names().map(|name| SubjectName::Uri(name.to_owned()));
    dns.chain(uris).collect()
}

/// The end of a certificate's validity, if it can be told.
pub(super) fn end(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    // webpki keeps the date to itself, but for the answer that it has passed. So it is asked about the end of time,
    // without any authority: the date is looked at first.
    let end_of_time = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    match certificate.verify_for_usage(&[], &[], &[], end_of_time, KeyUsage::server_auth(), None, None) {
        Err(Error::CertExpired { not_after, .. }) => {
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(not_after.as_secs()))
        }
        _ => None,
    }
}
