//! The audit in a file of its own.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::fmt::{MakeWriter, writer::OptionalWriter};

use super::AUDIT;
use crate::trial;

/// There is one audit in a process, and its file is known only after the logger was installed.
static OPEN: OnceLock<(NonBlocking, Mutex<Option<WorkerGuard>>)> = OnceLock::new();

/// Lines that the file did not take.
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);

/// From here on the audit's lines go to the end of this file, as JSON, and no longer to standard error. It is made where
/// it is not there, for its owner alone; renamed or removed, as logrotate does, it is opened anew.
///
/// # Errors
/// When it cannot be opened now. Later failures lose lines, and never hold up a call.
pub fn open(path: &Path) -> io::Result<()> {
    let file = append_to(path)?;
    OPEN.get_or_init(|| {
        let (writer, guard) = NonBlocking::new(Rotated { path: path.to_owned(), file: Some(file), failing: false });
        (writer, Mutex::new(Some(guard)))
    });
    Ok(())
}

/// Whether the file could be opened, found out without making it.
///
/// # Errors
/// When it could not.
pub fn probe(path: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return append_to(path).map(drop);
    }
    trial::file_in(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Writes what is still to be written.
pub(super) fn close() {
    drop(OPEN.get().and_then(|(_, guard)| guard.lock().take()));
}

/// How many lines did not get into the file.
pub(super) fn lost_lines() -> u64 {
    let dropped = OPEN.get().map_or(0, |(writer, _)| writer.error_counter().dropped_lines() as u64);
    dropped + UNWRITTEN.load(Ordering::Relaxed)
}

/// For standard error: everything but the audit, where that has a file.
#[derive(Debug)]
pub(super) struct Rest(pub(super) NonBlocking);

impl<'a> MakeWriter<'a> for Rest {
    type Writer = OptionalWriter<NonBlocking>;

    fn make_writer(&'a self) -> Self::Writer {
        OptionalWriter::some(self.0.clone())
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        if meta.target() == AUDIT && OPEN.get().is_some() { OptionalWriter::none() } else { self.make_writer() }
    }
}

/// For the audit: its file, where it has one.
#[derive(Debug)]
pub(super) struct ToFile;

impl<'a> MakeWriter<'a> for ToFile {
    type Writer = OptionalWriter<NonBlocking>;

    fn make_writer(&'a self) -> Self::Writer {
        OPEN.get().map_or_else(OptionalWriter::none, |(writer, _)| OptionalWriter::some(writer.clone()))
    }
}

/// A file that somebody else may take away. It never reports an error: nobody could do anything about it.
#[derive(Debug)]
struct Rotated {
    path: PathBuf,
    file: Option<File>,
    failing: bool,
}

impl Write for Rotated {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.append(line) {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!("the audit's file can be written to again");
            }
            Ok(()) => {}
            Err(error) => {
                UNWRITTEN.fetch_add(1, Ordering::Relaxed);
                self.file = None;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(file = %self.path.display(), %error, "the audit's file cannot be written to; its lines are lost until it can");
                }
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Rotated {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.file.as_ref().is_some_and(|file| is_at(file, &self.path)) {
            self.file = Some(append_to(&self.path)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.failing {
            // The line that failed may have left its beginning there.
            file.write_all(b"\n")?;
        }
        file.write_all(line)
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    // A pipe would be opened only when somebody reads it, and a folder not at all.
    if path.metadata().is_ok_and(|there| !there.is_file() && !there.file_type().is_char_device()) {
        return Err(io::Error::other("it is no regular file"));
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Whether the path still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: &Metadata| (meta.dev(), meta.ino());
    matches!((file.metadata(), path.metadata()), (Ok(open), Ok(there)) if identity(&open) == identity(&there))
}
