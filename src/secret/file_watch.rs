//! Files that may change while the gateway runs: a person logs in again, a secret is rotated, Kubernetes replaces the
//! link that leads to them. Defines how and how often they are read, and when an unusable file is reported.

use std::{
    fmt::Display,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustix::fs::OFlags;
use tokio::{runtime::Handle, task::spawn_blocking};

use crate::{os::shutdown::Shutdown, secret::SecretBytes};

/// How often files are read. Their contents are compared, since links and times are less reliable; reading a few small
/// files every few seconds costs nothing.
const PERIOD: Duration = Duration::from_secs(5);

/// How long a pipe may take to deliver its content: a shell's `<(COMMAND)`, used as the file of a secret.
const PIPE_TIMEOUT: Duration = Duration::from_secs(2);
const PIPE_STEP: Duration = Duration::from_millis(10);

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It does not exist, or its permissions forbid it.
    #[error("cannot be read: {0}")]
    Failed(#[from] io::Error),
    /// It is longer than any file of its kind.
    #[error("is too long: more than {0} bytes")]
    TooLong(u64),
    /// The path leads to a pipe, a socket, a device or a folder.
    #[error("is not a regular file")]
    Irregular,
}

/// The result of reading a file again.
#[derive(Debug)]
pub enum Reread<E> {
    /// Nothing to report.
    Quiet,
    /// The content has changed and is now in use.
    Replaced,
    /// It cannot be used, and this must be reported now.
    Unusable(E),
}

/// The current problem of a file, and whether it was reported.
///
/// Kubernetes and editors replace files in steps, and a certificate and its key change one after the other. So a
/// problem is reported when it is seen twice in a row, and again only after the file was good or had another problem.
#[derive(Debug, Default)]
pub struct Trouble(Option<(String, u32)>);

/// Reads a file. A wrong path may lead to an endless file or to a pipe without a writer, so at most `longest` bytes are
/// read, and a pipe is given only a limited time.
///
/// # Errors
/// [`Unread`], when the file does not exist or is longer.
pub fn read(path: &Path, longest: u64) -> Result<SecretBytes, Unread> {
    if path.metadata()?.file_type().is_socket() {
        return Err(Unread::Irregular);
    }
    let file = OpenOptions::new().read(true).custom_flags(nonblocking()).open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    let mut contents = Vec::new();
    let length = PipeReader { file, left: PIPE_TIMEOUT }.take(longest + 1).read_to_end(&mut contents);
    let contents = SecretBytes::new(contents);
    if length? as u64 > longest { Err(Unread::TooLong(longest)) } else { Ok(contents) }
}

/// Reads a file of the gateway's own. People provide secrets through pipes, but the gateway's state is always a file.
///
/// # Errors
/// [`Unread`], when the file does not exist, is not a regular file, or holds more than `longest` bytes.
pub fn read_regular(path: &Path, longest: u64) -> Result<Vec<u8>, Unread> {
    let file = open_regular(OpenOptions::new().read(true), path)?;
    let mut contents = Vec::new();
    let length = file.take(longest + 1).read_to_end(&mut contents)?;
    if length as u64 > longest { Err(Unread::TooLong(longest)) } else { Ok(contents) }
}

/// Opens a regular file only: reading a pipe or a device may block, or never end.
///
/// # Errors
/// [`Unread`], when it cannot be opened or is not a regular file.
pub fn open_regular(options: &mut OpenOptions, path: &Path) -> Result<File, Unread> {
    // Opening some devices has an effect, so the path is checked first; it may change in between.
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return Err(Unread::Irregular);
    }
    let file = options.custom_flags(nonblocking()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(Unread::Irregular) }
}

/// A flag that prevents waiting for the other end of a pipe. It has no effect on regular files.
fn nonblocking() -> i32 {
    OFlags::NONBLOCK.bits().cast_signed()
}

/// Reads a pipe, and waits a limited time for its writer. Reading a file never waits.
struct PipeReader {
    file: File,
    left: Duration,
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.left.is_zero() => {
                    std::thread::sleep(PIPE_STEP);
                    self.left = self.left.saturating_sub(PIPE_STEP);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the writer has not closed the pipe in time"));
                }
                outcome => return outcome,
            }
        }
    }
}

/// Calls `look` repeatedly until the drain starts. `look` may block and may spawn tasks.
pub async fn until_draining(shutdown: Shutdown, look: impl Fn() + Send + Sync + 'static) {
    let look = Arc::new(look);
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let (look, handle) = (Arc::clone(&look), Handle::current());
        // A file may be on a disk that no longer responds; its thread is then abandoned.
        let looking = spawn_blocking(move || {
            let _inside = handle.enter();
            look();
        });
        tokio::select! {
            () = shutdown.draining() => return,
            outcome = looking => if outcome.is_err() {
                tracing::error!("a check of files for changes has panicked, which is a bug; the next check still runs");
            },
        }
    }
}

impl From<Unread> for io::Error {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Failed(error) => error,
            other => Self::new(io::ErrorKind::InvalidInput, other.to_string()),
        }
    }
}

impl Unread {
    /// Whether the file does not exist.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Failed(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl Trouble {
    /// Takes the result of reading the file: whether its content has changed, or why it cannot be used.
    pub fn judge<E: Display>(&mut self, look: Result<bool, E>) -> Reread<E> {
        let error = match look {
            Ok(replaced) => {
                self.0 = None;
                return if replaced { Reread::Replaced } else { Reread::Quiet };
            }
            Err(error) => error,
        };
        let words = error.to_string();
        let times = match &self.0 {
            Some((before, times)) if *before == words => times.saturating_add(1),
            _ => 1,
        };
        self.0 = Some((words, times));
        if times == 2 { Reread::Unusable(error) } else { Reread::Quiet }
    }

    /// The problem seen at the last reading.
    #[must_use]
    pub fn words(&self) -> Option<&str> {
        self.0.as_ref().map(|(words, _)| words.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panic_does_not_end_the_watch() {
        let (shutdown, looks) = (Shutdown::default(), Arc::new(AtomicUsize::new(0)));
        let (stop, count) = (shutdown.clone(), Arc::clone(&looks));
        let following = until_draining(shutdown, move || match count.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("a fault"),
            1 => {}
            _ => stop.drain(),
        });
        following.await;
        assert_eq!(looks.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap().expose(), b"12345");
        let message = |path: &Path| read(path, 4).unwrap_err().to_string();
        assert_eq!(message(&path), "is too long: more than 4 bytes");
        assert_eq!(message(Path::new("/dev/zero")), "is too long: more than 4 bytes");
        assert_eq!(message(folder.path()), "cannot be read: is a directory");
        assert!(read(&folder.path().join("none"), 4).unwrap_err().is_absent());
    }

    #[test]
    fn a_special_file_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("link")).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        for name in ["pipe", "socket", "link", "folder"] {
            assert!(matches!(read_regular(&path(name), 9), Err(Unread::Irregular)), "{name}");
            let opened = open_regular(OpenOptions::new().read(true).write(true), &path(name));
            assert!(matches!(opened, Err(Unread::Irregular)), "{name}");
        }
        assert!(matches!(read(&path("socket"), 9), Err(Unread::Irregular)));
        std::fs::write(path("file"), "123456789").unwrap();
        assert_eq!(read_regular(&path("file"), 9).unwrap(), b"123456789");
        assert!(matches!(read_regular(&path("file"), 8), Err(Unread::TooLong(8))));
        assert!(read_regular(&path("none"), 8).unwrap_err().is_absent());
    }

    #[test]
    fn a_pipe_does_not_block_and_its_content_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        assert_eq!(read(&path, 9).unwrap().expose(), b"", "it has no writer");
        for (closes, expected) in [(true, Some(&b"1000.secret"[..])), (false, None)] {
            let (reader, mut writer) = io::pipe().unwrap();
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
            let writing = std::thread::spawn(move || {
                std::thread::sleep(3 * PIPE_STEP);
                io::Write::write_all(&mut writer, b"1000.secret").unwrap();
                (!closes).then_some(writer)
            });
            let contents = read(Path::new(&path), 20).ok();
            assert_eq!(contents.as_ref().map(SecretBytes::expose), expected);
            drop(writing.join().unwrap());
        }
    }

    #[test]
    fn a_problem_seen_twice_in_a_row_is_reported_once() {
        let mut trouble = Trouble::default();
        for (number, (look, message)) in [
            (Err("gone"), None),
            (Ok(false), None),
            (Err("gone"), None),
            (Err("gone"), Some("gone")),
            (Err("gone"), None),
            // Another problem is reported once it stays.
            (Err("empty"), None),
            (Err("empty"), Some("empty")),
            (Ok(true), None),
            (Err("empty"), None),
            (Err("empty"), Some("empty")),
        ]
        .into_iter()
        .enumerate()
        {
            let reported = match trouble.judge(look) {
                Reread::Unusable(words) => Some(words),
                Reread::Replaced => {
                    assert_eq!(look, Ok(true), "{number}");
                    None
                }
                Reread::Quiet => None,
            };
            assert_eq!((reported, trouble.words()), (message, look.err()), "{number}");
        }
    }
}
