//! Which earlier processes used the folder and are dead, for gateways that share a ledger.
//!
//! A process that holds the lock of a folder knows that the processes before it are dead: the system releases the lock when the
//! last thread of a process has ended. That is true only for the same file on the same running system. So a copied folder,
//! or one that another machine has mounted, names nobody.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    files::{self, FileId},
    service::Store,
};
use crate::secret::file_watch;

/// How many processes are named: as many as may die before one of them has told the others.
const NAMED: usize = 8;

/// Where the names are.
const FILE: &str = "processes.json";

/// More bytes than the file ever has.
const LONGEST: u64 = 8192;

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Processes {
    /// The lock that they held.
    lock: FileId,
    /// The boot of the system that they ran on.
    boot_id: String,
    /// The newest one comes last.
    names: Vec<String>,
}

impl Store {
    /// Adds this process's name for the next ones, and returns those of the processes before it.
    ///
    /// # Errors
    /// When the file cannot be read or written; the names are then of no use.
    pub fn name_process(&self, name: &str) -> io::Result<Vec<String>> {
        let path = self.dir.join(FILE);
        let lock = self.lock.file_id()?;
        // Without a boot's id nothing is certain.
        let Some(boot_id) = self.timeline.boot_id() else { return Ok(Vec::new()) };
        let is_ours = |processes: &Processes| processes.lock == lock && processes.boot_id == boot_id;
        let before = read(&path).filter(is_ours).map(|processes| processes.names).unwrap_or_default();
        let mut names = before.clone();
        names.push(name.to_owned());
        names.drain(..names.len().saturating_sub(NAMED));
        let processes = Processes { lock, boot_id: boot_id.to_owned(), names };
        files::replace(&path, serde_json::to_string(&processes)?.as_bytes())?;
        Ok(before)
    }
}

/// What the file says; nothing if it is missing or damaged.
fn read(path: &Path) -> Option<Processes> {
    let text = file_watch::read_regular(path, LONGEST).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::tempdir;

    use super::{super::timeline::Timeline, *};
    use crate::os::clock::{Anchor, BootId};

    /// Opens the folder under a boot of this name, and returns the processes before `name`.
    fn before(dir: &Path, boot: &str, name: &str) -> Vec<String> {
        let timeline = Timeline::new(Anchor::drop_here(), Some(BootId::named(boot)));
        Store::open_in(dir, timeline).unwrap().store.name_process(name).unwrap()
    }

    #[test]
    fn names_the_last_processes_of_the_same_folder_and_boot() {
        let dir = tempdir().unwrap();
        assert!(before(dir.path(), "one", "a").is_empty());
        assert_eq!(before(dir.path(), "one", "b"), ["a"]);
        assert_eq!(before(dir.path(), "one", "c"), ["a", "b"]);
        for number in 0..20 {
            before(dir.path(), "one", &number.to_string());
        }
        assert_eq!(before(dir.path(), "one", "last"), ["12", "13", "14", "15", "16", "17", "18", "19"]);
        assert!(before(dir.path(), "two", "a").is_empty(), "the machine was started anew");
        assert_eq!(before(dir.path(), "two", "b"), ["a"]);
    }

    #[test]
    fn a_copied_folder_is_a_stranger() {
        let (dir, copy) = (tempdir().unwrap(), tempdir().unwrap());
        before(dir.path(), "one", "a");
        for file in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        assert!(before(copy.path(), "one", "b").is_empty());
        assert_eq!(before(dir.path(), "one", "c"), ["a"], "the first one is not changed");
    }

    #[test]
    fn a_damaged_file_names_nobody() {
        let dir = tempdir().unwrap();
        before(dir.path(), "one", "a");
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(before(dir.path(), "one", "b").is_empty());
        assert_eq!(before(dir.path(), "one", "c"), ["b"]);
    }
}
