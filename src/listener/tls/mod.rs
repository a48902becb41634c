//! TLS towards callers, and certificates of theirs (mutual TLS).
//!
//! [`Tls::load`] reads the files; [`follow_tls`] reads them again as long as the gateway runs. A connection gets what they
//! held when its handshake began. The names in a caller's certificate go into its [`Peer`](crate::call::peer::Peer).

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

pub use files::{TlsFile, Unusable};
pub use follow::follow_tls;

use self::contents::{Contents, Ready};
use super::Socket;
use crate::{
    call::peer::SubjectName,
    os::clock,
    secret::file_watch::{Reread, Trouble},
};

/// A handshake takes two round trips and a signature; what takes longer than this is no honest caller's.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A certificate that ends sooner than this should have been renewed: the usual tools do it 30 days before.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Where the files of TLS lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The gateway's certificate, its issuers behind it.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// Turns on mutual TLS.
    pub clients: Option<ClientCertificates>,
}

/// The certificates that callers may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The file of the authorities that they are verified by.
    pub ca: PathBuf,
    /// Whether they have to show one.
    pub auth: ClientAuth,
}

/// Whether callers have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Without one there is no connection.
    Required,
    /// One that is shown is verified.
    Optional,
}

/// What is wrong with one of the files.
#[derive(Debug, thiserror::Error)]
#[error("proxy.tls.{}: the file {} {why}", file.key(), path.display())]
pub struct TlsFault {
    /// The file's role.
    pub file: TlsFile,
    /// The path in the configuration.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Unusable,
}

/// TLS as the files have it.
pub struct Tls {
    files: TlsFiles,
    state: Mutex<State>,
}

struct State {
    ready: Ready,
    /// Of the files that it was made of.
    fingerprint: Vec<u8>,
    trouble: Trouble,
}

impl TlsFiles {
    /// Where one of them lies; nowhere, if there is no such file.
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
    /// As `check` shows it.
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
    /// Everything that is wrong with them.
    pub fn load(files: TlsFiles) -> Result<Self, Vec<TlsFault>> {
        let contents = Contents::of(&files);
        let fingerprint = contents.fingerprint();
        let state = State { ready: contents.ready(&files)?, fingerprint, trouble: Trouble::default() };
        Ok(Self { files, state: Mutex::new(state) })
    }

    /// Where the files lie.
    #[must_use]
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// Until when the certificate is good, if it can be told.
    pub(super) fn end(&self) -> Option<SystemTime> {
        self.state.lock().ready.end
    }

    /// What the operator should hear of a certificate that ends soon or has ended.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let end = self.end()?;
        let (file, date) = (self.files.cert.display(), httpdate::fmt_http_date(end));
        match end.duration_since(clock::wall()) {
            Err(_) => Some(format!("the certificate in {file} has expired on {date}; put a new one there")),
            Ok(left) if left < ENDS_SOON => {
                Some(format!("the certificate in {file} expires on {date}; put a new one there before"))
            }
            Ok(_) => None,
        }
    }

    /// Makes a connection out of a caller's, and says by which names its certificate knows it.
    ///
    /// # Errors
    /// Those of a handshake that failed or took too long.
    pub(super) async fn handshake(&self, socket: Socket) -> io::Result<(Box<TlsStream<Socket>>, Arc<[SubjectName]>)> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.state.lock().ready.config));
        let Ok(outcome) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await else {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no handshake within {HANDSHAKE_TIMEOUT:?}")));
        };
        let stream = Box::new(outcome?);
        let names = certificate::names(stream.get_ref().1.peer_certificates());
        Ok((stream, names))
    }

    /// Reads the files again. What is wrong with them is told in one text.
    pub(super) fn reread(&self) -> Reread<String> {
        let contents = Contents::of(&self.files);
        let fingerprint = contents.fingerprint();
        let same = fingerprint == self.state.lock().fingerprint;
        let ready = if same { Ok(None) } else { contents.ready(&self.files).map(Some) };
        let mut state = self.state.lock();
        let replaced = ready.map(|ready| match ready {
            Some(ready) => {
                (state.ready, state.fingerprint) = (ready, fingerprint);
                true
            }
            None => false,
        });
        let told = |faults: Vec<TlsFault>| faults.iter().map(TlsFault::to_string).collect::<Vec<_>>().join("; ");
        state.trouble.judge(replaced.map_err(told))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key is in the rest.
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}
