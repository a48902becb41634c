//! `proxy.tls`: the files of TLS towards callers.
//!
//! People paste a key in place of its file's name, so a message never repeats a value.

use std::{path::PathBuf, sync::Arc};

use super::{
    credential::Surroundings,
    reader::{Located, Section},
};
use crate::listener::{ClientCertificates, Tls, TlsFile, TlsFiles};

/// Reads `proxy.tls`, if it is there.
pub(super) fn read(section: &mut Section<'_>, around: &Surroundings<'_>) -> Option<Arc<Tls>> {
    section.optional("tls", |section| files(section, around))
}

fn files(section: &mut Section<'_>, around: &Surroundings<'_>) -> Option<Arc<Tls>> {
    let mutual = section.whereabouts("client_ca").is_some();
    let auth = section.whereabouts("client_auth");
    if let Some(origin) = auth.filter(|_| !mutual) {
        section.wrong("client_auth", &origin, "says nothing without client_ca: expected both or neither");
    }
    let auth = section.value("client_auth");
    let cert = file(section, TlsFile::Cert, around);
    let key = file(section, TlsFile::Key, around);
    let client_ca = file(section, TlsFile::ClientCa, around);
    let (cert, key) = (cert?, key?);
    let clients = client_ca.map(|found| ClientCertificates { ca: found.value, auth });
    let complete = mutual == clients.is_some();
    // Each file is valid. The last check is that the key belongs to the certificate.
    match Tls::load(TlsFiles { cert: cert.value, key: key.value, clients }) {
        Ok(tls) => complete.then(|| Arc::new(tls)),
        Err(faults) => {
            for fault in faults {
                section.wrong("key", &key.origin, format!("the file {} {}", fault.path.display(), fault.why));
            }
            None
        }
    }
}

fn file(section: &mut Section<'_>, file: TlsFile, around: &Surroundings<'_>) -> Option<Located<PathBuf>> {
    section.path(file.key(), |path| {
        if path.contains('\n') || path.contains("-----BEGIN") {
            return Err("expected the path of a PEM file, found its text".to_owned());
        }
        around.in_file(path, |path| file.check(path)).map(|(path, ())| path)
    })
}
