//! Damage is never read as data, a failing disk is never taken for damage, and neither ends the process.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use redb::{StorageBackend, backends::FileBackend};

use super::{
    OpenError,
    database::{Database, DatabaseError},
    files,
    tests::{HOUR, Machine, kept, key, open_in},
};
use crate::ledger::{Key, Row, StartState};

/// A used folder, and its rows.
fn used(machine: &Machine, end: impl FnOnce(&Machine)) -> BTreeMap<Key, Row> {
    let mut store = machine.open_after(Duration::ZERO).store;
    let mut rows = BTreeMap::new();
    // Each write changes the row of the one before, so that no older state equals the newest.
    for round in 1..=6u32 {
        for account in 0..4 {
            let charges = (0..30 - round).map(|n| (machine.base + n * Duration::from_secs(2), n + round)).collect();
            let lock = (account == 1).then_some(machine.base + round * HOUR);
            let row = Row { window: Duration::from_secs(60), in_flight: round, unread: round % 2 == 0, charges, lock };
            rows.insert(key(&format!("account-{account}"), "people/forms/records"), row.clone());
        }
        let written: Vec<_> = rows.clone().into_iter().collect();
        store.write(&written).expect("written");
    }
    store.keep_incident("{}").expect("kept");
    let last = key("account-2", "people/forms/records");
    if let Some(row) = rows.get_mut(&last) {
        row.in_flight = 99;
        store.write(&[(last, row.clone())]).expect("written");
    }
    end(machine);
    drop(store);
    rows
}

/// The folder after a kill and after an orderly end, each with the rows that it must hold.
fn endings() -> [(&'static str, Machine, BTreeMap<Key, Row>); 2] {
    let (orderly, killed) = (Machine::new(), Machine::new());
    let closed = used(&orderly, |_| {});
    // The copy is made while the store is open, and put in place after the store was closed.
    let open = tempfile::tempdir().expect("a folder");
    let rows = used(&killed, |machine| copy(machine.dir.path(), open.path()));
    copy(open.path(), killed.dir.path());
    [("orderly", orderly, closed), ("killed", killed, rows)]
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

/// Opens a copy of the folder whose database is `bytes`. Returns whether the damage was found.
fn opens_truly(machine: &Machine, rows: &BTreeMap<Key, Row>, bytes: &[u8], what: &str) -> bool {
    let other = Machine { base: machine.base, ..Machine::new() };
    copy(machine.dir.path(), other.dir.path());
    fs::write(other.path("ledger.redb"), bytes).expect("damaged");
    let opened = open_in(other.dir.path(), other.timeline("a", HOUR)).unwrap_or_else(|error| panic!("{what}: {error}"));
    match opened.start_state {
        StartState::Kept(found) => {
            assert_eq!(&found, rows, "{what}");
            false
        }
        StartState::Lost { set_aside, locks, .. } => {
            assert_eq!(fs::read(set_aside.expect("set aside")).expect("the file").len(), bytes.len(), "{what}");
            let locked = key("account-1", "people/forms/records");
            assert_eq!(locks, BTreeMap::from([(locked, machine.base + 6 * HOUR)]), "{what}");
            true
        }
        StartState::Fresh => panic!("{what}: fresh"),
    }
}

#[test]
fn a_flipped_bit_is_found_or_harmless() {
    for (end, machine, rows) in endings() {
        let whole = fs::read(machine.path("ledger.redb")).expect("the database");
        assert!(!opens_truly(&machine, &rows, &whole, end), "{end}: whole");
        let written: Vec<_> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
        let mut chance = 88_172_645_463_325_252_u64;
        let mut found = 0;
        let flips = flips();
        for flip in 0..flips {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            let drawn = (chance >> 8) as usize;
            // The header, which no checksum covers as a whole; the bytes that were written; and any byte.
            let at = match flip % 4 {
                0 => drawn % 320,
                1 => drawn % whole.len(),
                _ => written[drawn % written.len()],
            };
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (chance % 8);
            found +=
                usize::from(opens_truly(&machine, &rows, &damaged, &format!("{end}: bit {} of byte {at}", chance % 8)));
        }
        println!("{end}: {found} of {flips} found, {} bytes of {} are not zero", written.len(), whole.len());
        assert!(found > flips / 8, "{end}: only {found} of {flips} were found");
    }
}

/// The number of flips; set it with `STORE_FLIPS=20000`.
fn flips() -> usize {
    std::env::var("STORE_FLIPS").ok().and_then(|flips| flips.parse().ok()).unwrap_or(300)
}

#[test]
fn a_truncated_or_emptied_file_is_found() {
    for (end, machine, rows) in endings() {
        let whole = fs::read(machine.path("ledger.redb")).expect("the database");
        let edges = [0, 1, 8, 9, 64, 191, 320, 4_095, 4_096, 4_097, whole.len() - 1];
        for length in edges.into_iter().chain((1..20).map(|part| whole.len() * part / 20)) {
            let what = format!("{end}: cut to {length} of {}", whole.len());
            assert!(opens_truly(&machine, &rows, &whole[..length], &what), "{what}");
            let mut emptied = whole.clone();
            emptied[length..].fill(0);
            opens_truly(&machine, &rows, &emptied, &format!("{end}: zeros from {length}"));
        }
        opens_truly(&machine, &rows, &[whole.as_slice(), &[0; 4_096]].concat(), &format!("{end}: a page longer"));
        assert!(opens_truly(&machine, &rows, b"no database at all", end), "{end}: another file");
    }
}

#[test]
fn a_database_that_fell_back_is_detected() {
    let machine = Machine::new();
    let mut store = machine.open_after(Duration::ZERO).store;
    let write = |store: &mut super::Store, in_flight| {
        store.write(&[(key("hr", "leave"), Row { in_flight, ..Row::default() })]).expect("written");
    };
    write(&mut store, 1);
    let earlier = fs::read(machine.path("ledger.redb")).expect("the database");
    write(&mut store, 2);
    drop(store);
    fs::write(machine.path("ledger.redb"), earlier).expect("put back");
    let start_state = machine.open_after(HOUR).start_state;
    assert!(
        matches!(&start_state, StartState::Lost { reason, .. } if reason.contains("ends at commit 1")),
        "{start_state:?}"
    );
}

#[test]
fn only_the_last_damaged_files_stay() {
    let machine = Machine::new();
    let mut set_aside = Vec::new();
    for round in 0..5u8 {
        drop(machine.open_after(u32::from(round) * HOUR));
        fs::write(machine.path("ledger.redb"), [round; 100]).expect("damaged");
        let StartState::Lost { set_aside: Some(place), .. } = machine.open_after(u32::from(round) * HOUR).start_state
        else {
            panic!("the damage was not found")
        };
        assert_eq!(fs::read(&place).expect("the file"), [round; 100]);
        set_aside.push(place);
    }
    let stay: Vec<_> = set_aside.iter().map(|place| place.exists()).collect();
    assert_eq!(stay, [false, false, true, true, true]);
    assert_eq!(stay.iter().filter(|stays| **stays).count(), files::SET_ASIDE);
}

#[test]
fn an_unusable_folder_is_reported_and_left_unchanged() {
    let machine = Machine::new();
    let file = machine.path("file");
    fs::write(&file, "mine").expect("a file");
    for dir in [file.clone(), file.join("state")] {
        let Err(error) = open_in(&dir, machine.timeline("a", HOUR)) else { panic!("opened a file") };
        let said = error.to_string();
        assert!(said.contains(dir.to_str().expect("utf-8")) && said.contains("set state.dir"), "{said}");
    }
    assert_eq!(fs::read(&file).expect("the file"), b"mine");

    let dir = machine.path("state");
    fs::create_dir_all(dir.join("ledger.redb")).expect("a folder instead of the database");
    let Err(error) = open_in(&dir, machine.timeline("a", HOUR)) else { panic!("opened a folder") };
    assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
    assert!(dir.join("ledger.redb").is_dir(), "it was not renamed");
    // Nothing was sent from here, so after the repair the folder counts as new.
    fs::remove_dir(dir.join("ledger.redb")).expect("repaired");
    assert_eq!(open_in(&dir, machine.timeline("a", HOUR)).expect("the store").start_state, StartState::Fresh);
}

#[test]
fn a_write_fails_when_the_copy_of_the_locks_fails() {
    let machine = Machine::new();
    let mut store = machine.open_after(Duration::ZERO).store;
    let row = Row { lock: Some(machine.base + HOUR), ..Row::default() };
    let rows = [(key("hr", "leave"), row.clone())];
    fs::create_dir(machine.path("locks.new")).expect("an obstacle");
    let error = store.write(&rows).expect_err("no copy, no write");
    assert!(error.to_string().contains("locks.json"), "{error}");
    assert!(store.write(&rows).expect_err("closed").to_string().contains("locks.json"));
    fs::remove_dir(machine.path("locks.new")).expect("removed");
    assert!(store.write(&rows).expect_err("still closed").to_string().contains("closed"));
    store.reopen().expect("reopened");
    store.write(&rows).expect("written");
    drop(store);
    assert_eq!(kept(machine.open_after(HOUR).start_state), BTreeMap::from(rows));
}

#[test]
fn after_a_disk_failure_everything_can_be_written_again() {
    for fails_at in 0..30 {
        let machine = Machine::new();
        let mut store = machine.open_after(Duration::ZERO).store;
        let row = |in_flight| [(key("hr", "leave"), Row { in_flight, ..Row::default() })];
        store.write(&row(1)).expect("written");
        store.database = None;
        let disk = Failing::after(i64::MAX, &store.path);
        let countdown = Arc::clone(&disk.countdown);
        store.database = Some(Database::open_by(|builder| builder.create_with_backend(disk)).expect("opened").0);
        countdown.store(fails_at, Relaxed);
        let failed = (2..9).find(|in_flight| store.write(&row(*in_flight)).is_err());
        let failed = failed.unwrap_or_else(|| panic!("seven writes take more than {fails_at} operations"));
        store.write(&row(9)).expect_err("closed until it is reopened");
        // After a kill here, the next process finds the state before that write or after it.
        let killed = Machine { base: machine.base, ..Machine::new() };
        copy(machine.dir.path(), killed.dir.path());
        let found = kept(killed.open_after(HOUR).start_state);
        assert!([row(failed - 1), row(failed)].map(BTreeMap::from).contains(&found), "{fails_at}: {found:?}");

        store.reopen().expect("reopened");
        store.write(&row(8)).expect("written");
        drop(store);
        assert_eq!(kept(machine.open_after(HOUR).start_state), BTreeMap::from(row(8)), "{fails_at}");
    }
}

#[test]
fn a_failing_disk_is_not_taken_for_damage() {
    for (end, machine, _) in endings() {
        let mut opened = 0;
        for fails_at in 0..60 {
            let place = Machine::new();
            copy(machine.dir.path(), place.dir.path());
            let disk = Failing::after(fails_at, &place.path("ledger.redb"));
            match Database::open_by(|builder| builder.create_with_backend(disk)) {
                Ok(_) => opened += 1,
                Err(DatabaseError::Failed(error)) => {
                    assert_eq!(error.raw_os_error(), Some(EIO), "{end} {fails_at}: {error}")
                }
                Err(DatabaseError::Damaged(reason)) => panic!("{end} {fails_at}: {reason}"),
            }
        }
        assert!(opened > 0, "{end}: sixty operations are enough to open");
    }
}

#[test]
fn a_database_lost_while_running_is_created_again() {
    let machine = Machine::new();
    let mut store = machine.open_after(Duration::ZERO).store;
    let rows = [(key("hr", "leave"), Row { in_flight: 3, ..Row::default() })];
    store.write(&rows).expect("written");
    store.database = None;
    fs::write(machine.path("ledger.redb"), "scribbled over").expect("damaged");
    store.reopen().expect("reopened");
    store.database = None;
    fs::remove_file(machine.path("ledger.redb")).expect("removed");
    store.reopen().expect("reopened");
    store.write(&rows).expect("written");
    drop(store);
    assert_eq!(kept(machine.open_after(HOUR).start_state), BTreeMap::from(rows));
}

/// A disk that fails for good after this number of operations.
#[derive(Debug)]
struct Failing {
    file: FileBackend,
    countdown: Arc<AtomicI64>,
}

impl Failing {
    fn after(operations: i64, path: &Path) -> Self {
        let file = files::private().open(path).expect("the database");
        let file = FileBackend::new(file).expect("a file");
        Self { file, countdown: Arc::new(AtomicI64::new(operations)) }
    }

    fn step(&self) -> io::Result<()> {
        if self.countdown.fetch_sub(1, Relaxed) > 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(EIO)) }
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.step()?;
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.step()?;
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step()?;
        self.file.write(offset, data)
    }
}

const EIO: i32 = 5;
