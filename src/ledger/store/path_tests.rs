//! Paths of the store's files that lead to pipes, devices, sockets, folders or far too long files.

use std::{fs, io, os::unix::fs::symlink, os::unix::net::UnixListener, path::Path, sync::mpsc, thread, time::Duration};

use rustix::fs::{CWD, Mode, mkfifoat};

use super::{OpenError, Store, tests::Machine};
use crate::ledger::StartState;

/// More than an opening takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the path may lead to instead of a file.
const STRANGE: [&str; 5] = ["pipe", "zero", "socket", "folder", "link to a pipe"];

fn put(what: &str, path: &Path) {
    // One may be left from the last case.
    let _ = fs::remove_file(path);
    match what {
        "pipe" => mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).expect("a pipe"),
        "zero" => symlink("/dev/zero", path).expect("a link"),
        "socket" => drop(UnixListener::bind(path).expect("a socket")),
        "folder" => fs::create_dir(path).expect("a folder"),
        _ => {
            let pipe = path.with_extension("target");
            mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).expect("a pipe");
            symlink(pipe, path).expect("a link");
        }
    }
}

/// Opens the folder, which must not block.
fn opened(dir: &Path, probe: bool) -> Result<StartState, OpenError> {
    let (sender, outcome) = mpsc::channel();
    let dir = dir.to_owned();
    thread::spawn(move || {
        let outcome = match probe {
            true => Store::probe(&dir).map(|()| StartState::Fresh),
            false => Store::open(&dir).map(|opened| opened.start_state),
        };
        let _ = sender.send(outcome);
    });
    outcome.recv_timeout(PATIENCE).expect("the opening ends")
}

/// The start waited for ever for a locks.json that was a pipe, and read /dev/zero until memory ended.
#[test]
fn special_files_do_not_block_the_opening() {
    for name in ["locks.json", "holder", "newest", "ledger.redb"] {
        for what in STRANGE {
            let machine = Machine::new();
            let dir = machine.path("state");
            drop(Store::open(&dir).expect("the store"));
            fs::remove_file(dir.join(name)).expect("it was there");
            put(what, &dir.join(name));
            for probe in [true, false] {
                let message = opened(&dir, probe).expect_err(what).to_string();
                assert!(
                    message.contains(name) && message.contains("is not a regular file"),
                    "{name} {what}: {message}"
                );
            }
        }
    }
}

#[test]
fn an_endless_file_is_not_read_to_its_end() {
    for (name, message) in [("locks.json", "is too long"), ("ledger.redb", "")] {
        let machine = Machine::new();
        let dir = machine.path("state");
        drop(Store::open(&dir).expect("the store"));
        // Sparse: it takes no space on the disk.
        fs::OpenOptions::new().write(true).open(dir.join(name)).expect("the file").set_len(1 << 40).expect("long");
        match opened(&dir, false) {
            Err(error) => assert!(!message.is_empty() && error.to_string().contains(message), "{name}: {error}"),
            Ok(StartState::Lost { reason, .. }) => assert!(reason.contains("larger than"), "{reason}"),
            Ok(other) => panic!("{name}: {other:?}"),
        }
    }
}

/// A temporary file that a dead process left must not block the next one.
#[test]
fn a_leftover_temporary_file_is_replaced() {
    for what in ["pipe", "zero", "socket"] {
        let machine = Machine::new();
        let path = machine.path("file");
        put(what, &path.with_extension("new"));
        super::files::replace(&path, b"text").expect("replaced");
        assert_eq!(fs::read(&path).expect("a file"), b"text", "{what}");
        assert!(fs::metadata(&path).expect("a file").is_file(), "{what}");
    }
}

#[test]
fn a_probe_changes_nothing() {
    let machine = Machine::new();
    let dir = machine.path("far/away/state");
    Store::probe(&dir).expect("it could be made");
    assert!(!machine.path("far").exists());

    // It disturbs neither a running gateway nor one that starts meanwhile.
    let held = Store::open(&dir).expect("the store");
    let names = |dir: &Path| -> io::Result<Vec<_>> { fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect() };
    let before = names(&dir).expect("readable");
    Store::probe(&dir).expect("in use, and in order");
    assert_eq!(names(&dir).expect("readable"), before);
    drop(held);
    assert!(matches!(Store::open(&dir).expect("the store").start_state, StartState::Kept(_)));

    fs::write(machine.path("file"), "").expect("written");
    for wrong in ["file", "file/state", "file/far/state"] {
        assert!(Store::probe(&machine.path(wrong)).is_err(), "{wrong}");
    }
}
