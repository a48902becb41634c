//! Errors of the state folder, with advice for the operator.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A store that could not be opened. Nothing was renamed or removed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the folder.
    #[error("{} is in use by {by}. One gateway runs per Zoho login, and gateways that share one exceed its thresholds together: end \
             that process, or let the services of both call one gateway. Only a gateway for another login takes a folder \
             of its own", dir.display())]
    Held {
        /// The folder.
        dir: PathBuf,
        /// The process, and since when it runs.
        by: String,
    },
    /// The folder or a file in it cannot be used.
    #[error("cannot {action} {}: {source}{}", path.display(), hint(source))]
    Unusable {
        /// The attempted action.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A write that failed, or whose outcome is unknown. The store is closed until it is reopened.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct WriteError {
    path: PathBuf,
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free space on the disk",
        io::ErrorKind::ResourceBusy => "; end the program that has it open",
        io::ErrorKind::InvalidInput => "; the gateway did not create it: move it away",
        _ => "; set state.dir to a folder that the gateway may write",
    }
}

impl OpenError {
    pub(super) fn unusable(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Unusable { action, path, source }
    }
}

impl From<WriteError> for OpenError {
    /// Opening also writes.
    fn from(WriteError { path, source }: WriteError) -> Self {
        Self::Unusable { action: "write", path, source }
    }
}

impl WriteError {
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { path, source }
    }
}
