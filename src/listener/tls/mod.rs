//! TLS towards callers, and their certificates (mutual TLS).
//!
//! [`Tls::load`] reads the files; [`follow_tls`] rereads them while the gateway runs. A connection uses the contents
//! from the time of its handshake. The names in a caller's certificate go into its [`Peer`](crate::call::peer::Peer).

mod certificate;
mod contents;
mod files;
mod follow;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

pub use files::{TlsFile, TlsFileError};
pub use follow::follow_tls;

use self::contents::{Contents, TlsSetup};
use super::Socket;
use crate::{
    call::peer::SubjectName,
    os::clock,
    secret::file_watch::{Reread, Trouble},
};

/// The longest handshake. It needs only two round trips and a signature.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// From when on to warn before a certificate expires. The usual tools renew it 30 days before.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// The paths of the files of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The gateway's certificate, followed by its issuers.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// Mutual TLS, if it is on.
    pub clients: Option<ClientCertificates>,
}

/// How callers' certificates are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The file of the authorities that verify them.
    pub ca: PathBuf,
    /// Whether callers must show one.
    pub auth: ClientAuth,
}

/// Whether callers must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// A connection without a certificate is rejected.
    Required,
    /// A certificate is verified if a caller shows one.
    Optional,
}

/// What is wrong with one of the files.
#[derive(Debug, thiserror::Error)]
#[error("{}: the file {} {why}", file.key(), path.display())]
pub struct TlsFault {
    /// Which file it is.
    pub file: TlsFile,
    /// The path in the configuration.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: TlsFileError,
}

/// TLS with the current contents of the files.
pub struct Tls {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    setup: TlsSetup,
    /// The fingerprint of the files that it was built from.
    fingerprint: Vec<u8>,
    trouble: Trouble,
}

impl TlsFiles {
    /// The path of one of the files; empty if it is not configured.
    #[must_use]
    pub fn path(&self, file: TlsFile) -> &Path {
        match file {
            TlsFile::Cert => &self.cert,
            TlsFile::Key => &self.key,
            TlsFile::ClientCa => self.clients.as_ref().map_or(Path::new(""), |clients| &clients.ca),
        }
    }
}

impl fmt::Display for TlsFiles {
    /// The form that `check` prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cert.display())?;
        let Some(ClientCertificates { ca, auth }) = &self.clients else { return Ok(()) };
        let auth = match auth {
            ClientAuth::Required => "required",
            ClientAuth::Optional => "optional",
        };
        write!(f, ", certificates of {} {auth}", ca.display())
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// All faults of the files.
    pub fn load(files: TlsFiles) -> Result<Self, Vec<TlsFault>> {
        let contents = Contents::read(&files);
        let fingerprint = contents.fingerprint();
        let loaded = Loaded { setup: contents.setup(&files)?, fingerprint, trouble: Trouble::default() };
        Ok(Self { files, loaded: Mutex::new(loaded) })
    }

    /// The paths of the files.
    #[must_use]
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// When the certificate expires, if that is known.
    pub(super) fn expiry(&self) -> Option<SystemTime> {
        self.loaded.lock().setup.expiry
    }

    /// A warning about a certificate that expires soon or has expired.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let expiry = self.expiry()?;
        let (file, date) = (self.files.cert.display(), httpdate::fmt_http_date(expiry));
        match expiry.duration_since(clock::wall()) {
            Err(_) => Some(format!("the certificate in {file} expired on {date}; replace it")),
            Ok(left) if left < EXPIRES_SOON => {
                Some(format!("the certificate in {file} expires on {date}; replace it before then"))
            }
            Ok(_) => None,
        }
    }

    /// Makes the handshake on a caller's connection. Gives the names in the caller's certificate.
    ///
    /// # Errors
    /// Those of a handshake that fails or takes too long.
    pub(super) async fn handshake(&self, socket: Socket) -> io::Result<(Box<TlsStream<Socket>>, Arc<[SubjectName]>)> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.loaded.lock().setup.config));
        let Ok(outcome) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await else {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no handshake within {HANDSHAKE_TIMEOUT:?}")));
        };
        let stream = Box::new(outcome?);
        let names = certificate::names(stream.get_ref().1.peer_certificates());
        Ok((stream, names))
    }

    /// Rereads the files. The error lists all their faults in one text.
    pub(super) fn reread(&self) -> Reread<String> {
        let contents = Contents::read(&self.files);
        let fingerprint = contents.fingerprint();
        let changed = fingerprint != self.loaded.lock().fingerprint;
        let setup = changed.then(|| contents.setup(&self.files)).transpose();
        let mut loaded = self.loaded.lock();
        let replaced = setup.map(|setup| {
            if let Some(setup) = setup {
                (loaded.setup, loaded.fingerprint) = (setup, fingerprint);
            }
            changed
        });
        let text = |faults: Vec<TlsFault>| faults.iter().map(TlsFault::to_string).collect::<Vec<_>>().join("; ");
        loaded.trouble.judge(replaced.map_err(text))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The other fields hold the private key.
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}
