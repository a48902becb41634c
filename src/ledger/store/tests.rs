//! StoredRow rows are read back, after a reboot too, and the folder has one user at a time.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use tempfile::TempDir;
use tokio::time::Instant;

use super::{OpenError, Opened, Store, files, timeline::Timeline};
use crate::{
    ledger::{KeptToken, Key, Row, StartState},
    os::clock::{self, Anchor, BootId},
};

pub(super) const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

/// A folder on a machine whose clocks the test sets. It is in memory where possible, for speed.
pub(super) struct Machine {
    pub(super) dir: TempDir,
    pub(super) base: Instant,
}

impl Machine {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        Self { dir, base: clock::now() }
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Opens the folder in boot "a", whose clock showed 1000 hours at `base`, this much later.
    pub(super) fn open_after(&self, later: Duration) -> Opened {
        open_in(self.dir.path(), self.timeline("a", later)).expect("the store")
    }

    pub(super) fn timeline(&self, boot_id: &str, later: Duration) -> Timeline {
        let nanos = i64::try_from((1_000 * HOUR + later).as_nanos()).expect("within range");
        Timeline::new(Anchor::at(self.base + later, nanos), Some(BootId::named(boot_id)))
    }
}

pub(super) fn open_in(dir: &Path, timeline: Timeline) -> Result<Opened, OpenError> {
    Store::open_in(dir, timeline)
}

pub(super) fn key(account: &str, limit: &str) -> Key {
    Key { account: account.to_owned(), limit: limit.to_owned() }
}

pub(super) fn kept(start_state: StartState) -> BTreeMap<Key, Row> {
    match start_state {
        StartState::Kept(rows) => rows,
        other => panic!("not kept: {other:?}"),
    }
}

fn lost(start_state: StartState) -> (String, BTreeMap<Key, Instant>) {
    match start_state {
        StartState::Lost { reason, locks, .. } => (reason, locks),
        other => panic!("not lost: {other:?}"),
    }
}

fn row(base: Instant) -> Row {
    Row {
        window: MINUTE,
        in_flight: 2,
        unread: true,
        charges: vec![(base - MINUTE, 1), (base + MINUTE, 3), (base + 2 * HOUR, 7)],
        lock: Some(base + 5 * MINUTE),
    }
}

#[test]
fn a_new_folder_is_fresh_and_private() {
    let machine = Machine::new();
    let dir = machine.path("deep/state");
    let opened = open_in(&dir, machine.timeline("a", Duration::ZERO)).expect("the store");
    assert_eq!(opened.start_state, StartState::Fresh);
    assert!(opened.incidents.is_empty());
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for entry in fs::read_dir(&dir).expect("the folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_folder_with_open_permissions_is_detected() {
    let dir = tempfile::tempdir().expect("a folder");
    for (mode, open) in [(0o700, false), (0o755, false), (0o775, true), (0o707, true)] {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).expect("it is ours");
        assert_eq!(files::is_open_to_others(dir.path()).expect("it is there"), open, "{mode:o}");
    }
}

#[test]
fn written_rows_are_read_back_in_the_same_boot() {
    let machine = Machine::new();
    let mut store = machine.open_after(Duration::ZERO).store;
    let (one, two) = (key("hr", "attendance"), key("hr", "daily"));
    let plain = Row { window: 24 * HOUR, in_flight: 1, ..Row::default() };
    store.write(&[]).expect("nothing");
    store.write(&[(one.clone(), row(machine.base)), (two.clone(), plain.clone())]).expect("written");
    drop(store);
    let rows = kept(machine.open_after(HOUR).start_state);
    assert_eq!(rows, BTreeMap::from([(one, row(machine.base)), (two, plain)]));
}

#[test]
fn a_used_folder_without_rows_is_kept_and_empty() {
    let machine = Machine::new();
    drop(machine.open_after(Duration::ZERO));
    assert_eq!(machine.open_after(HOUR).start_state, StartState::Kept(BTreeMap::new()));
}

#[tokio::test(start_paused = true)]
async fn a_reboot_keeps_the_distance_of_all_times() {
    let machine = Machine::new();
    let one = key("hr", "attendance");
    let mut store = machine.open_after(Duration::ZERO).store;
    tokio::time::advance(30 * MINUTE).await;
    store.write(&[(one.clone(), row(machine.base))]).expect("written");
    drop(store);

    // Ten hours later by this process's clock, which started at zero again.
    let here = machine.base + 10 * HOUR;
    let booted = Timeline::new(Anchor::at(here, 5_000), Some(BootId::named("b")));
    let opened = open_in(machine.dir.path(), booted).expect("the store");
    let offset = |at: Instant| here + at.duration_since(machine.base) - 30 * MINUTE;
    let expected = Row {
        charges: vec![
            (here - 31 * MINUTE, 1),
            (offset(machine.base + MINUTE), 3),
            (offset(machine.base + 2 * HOUR), 7),
        ],
        lock: Some(here - 25 * MINUTE),
        ..row(machine.base)
    };
    assert_eq!(kept(opened.start_state), BTreeMap::from([(one.clone(), expected.clone())]));
    drop(opened.store);

    // It was written back: the next process of that boot converts nothing.
    let next = Timeline::new(Anchor::at(here + HOUR, 5_000 + 3_600_000_000_000), Some(BootId::named("b")));
    assert_eq!(
        kept(open_in(machine.dir.path(), next).expect("the store").start_state),
        BTreeMap::from([(one, expected)])
    );
}

#[test]
fn a_row_from_the_future_belongs_to_another_boot() {
    let machine = Machine::new();
    let one = key("hr", "attendance");
    let mut store = machine.open_after(10 * HOUR).store;
    // The store's clock shows 1010 hours, less the ten hours before this process started.
    store.write(&[(one.clone(), row(machine.base))]).expect("written");
    drop(store);
    // A clone of the machine starts with the same boot id and its clock an hour earlier.
    let opened = open_in(machine.dir.path(), {
        let nanos = i64::try_from((999 * HOUR).as_nanos()).expect("within range");
        Timeline::new(Anchor::at(machine.base, nanos), Some(BootId::named("a")))
    });
    let rows = kept(opened.expect("the store").start_state);
    let lock = rows[&one].lock.expect("the lock");
    let distance = lock - machine.base;
    assert!(distance <= 5 * MINUTE && distance > 4 * MINUTE, "{distance:?}");
}

#[test]
fn an_empty_row_is_removed() {
    let machine = Machine::new();
    let mut store = machine.open_after(Duration::ZERO).store;
    let (one, two) = (key("hr", "attendance"), key("hr", "leave"));
    store.write(&[(one.clone(), row(machine.base)), (two.clone(), row(machine.base))]).expect("written");
    store.write(&[(one, Row { window: MINUTE, ..Row::default() })]).expect("written");
    drop(store);
    assert_eq!(kept(machine.open_after(HOUR).start_state), BTreeMap::from([(two, row(machine.base))]));
}

#[test]
fn a_folder_in_use_names_its_process() {
    let machine = Machine::new();
    let first = machine.open_after(Duration::ZERO);
    let Err(refused) = Store::open(machine.dir.path()) else { panic!("two holders") };
    assert!(matches!(refused, OpenError::Held { .. }));
    let said = refused.to_string();
    let pid = format!("process {}", std::process::id());
    for part in [machine.dir.path().to_str().expect("utf-8"), &pid, "since 20", "One gateway runs per Zoho login"] {
        assert!(said.contains(part), "{part:?} is missing in {said:?}");
    }
    // Two folders for one login are two ledgers, and together they exceed Zoho's thresholds.
    assert!(!said.contains("another state.dir"), "{said}");
    drop(first);
    drop(machine.open_after(HOUR));
}

/// A folder was removed while a process used it. Its files still accepted writes, and the next process lost them.
#[test]
fn a_removed_folder_is_created_again_with_all_rows() {
    let machine = Machine::new();
    let dir = machine.path("state");
    let one = key("hr", "attendance");
    let mut store = open_in(&dir, machine.timeline("a", Duration::ZERO)).expect("the store").store;
    store.write(&[(one.clone(), Row { lock: None, ..row(machine.base) })]).expect("written");
    fs::remove_dir_all(&dir).expect("removed");
    assert!(store.write(&[(one.clone(), row(machine.base))]).is_err());
    store.reopen().expect("opened again");
    store.write(&[(one.clone(), row(machine.base))]).expect("written");
    assert!(matches!(open_in(&dir, machine.timeline("a", Duration::ZERO)), Err(OpenError::Held { .. })));
    drop(store);
    let rows = kept(open_in(&dir, machine.timeline("a", MINUTE)).expect("the store").start_state);
    assert_eq!(rows, BTreeMap::from([(one, row(machine.base))]));
}

#[test]
fn a_missing_database_is_lost_but_its_locks_are_not() {
    let machine = Machine::new();
    let one = key("hr", "attendance");
    let mut store = machine.open_after(Duration::ZERO).store;
    store.write(&[(one.clone(), row(machine.base)), (key("hr", "daily"), Row::default())]).expect("written");
    drop(store);
    fs::remove_file(machine.path("ledger.redb")).expect("removed");

    let locks = BTreeMap::from([(one.clone(), machine.base + 5 * MINUTE)]);
    // Reported until something is written: a crash in between must not make it a database without rows.
    for later in 1..4 {
        let (reason, found) = lost(machine.open_after(later * HOUR).start_state);
        assert!(reason.contains("missing"), "{reason}");
        assert_eq!(found, locks);
    }
    let mut store = machine.open_after(4 * HOUR).store;
    store.write(&[(one.clone(), row(machine.base))]).expect("written");
    drop(store);
    assert_eq!(kept(machine.open_after(5 * HOUR).start_state), BTreeMap::from([(one, row(machine.base))]));
}

/// The copy is written before the rows, so a kill in between leaves a lock only in the copy.
#[test]
fn a_lock_that_only_the_copy_holds_is_kept() {
    let machine = Machine::new();
    let [one, two] = ["attendance", "leave"].map(|meter| key("hr", meter));
    let mut store = machine.open_after(Duration::ZERO).store;
    store.write(&[(one.clone(), Row { lock: None, ..row(machine.base) })]).expect("written");
    let before = fs::read(machine.path("ledger.redb")).expect("read");
    let newest = fs::read(machine.path("newest")).expect("read");
    store.write(&[(one.clone(), row(machine.base)), (two.clone(), row(machine.base))]).expect("written");
    drop(store);
    fs::write(machine.path("ledger.redb"), before).expect("taken back");
    fs::write(machine.path("newest"), newest).expect("taken back");
    let rows = kept(machine.open_after(MINUTE).start_state);
    assert_eq!([&rows[&one].lock, &rows[&two].lock], [&row(machine.base).lock; 2]);
    assert_eq!(rows[&one].charges, row(machine.base).charges);
}

#[test]
fn an_ended_lock_is_removed_from_the_copy() {
    let machine = Machine::new();
    let one = key("hr", "attendance");
    let mut store = machine.open_after(Duration::ZERO).store;
    store.write(&[(one.clone(), row(machine.base))]).expect("written");
    store.write(&[(one, Row { lock: None, ..row(machine.base) })]).expect("written");
    drop(store);
    fs::remove_file(machine.path("ledger.redb")).expect("removed");
    assert!(lost(machine.open_after(HOUR).start_state).1.is_empty());
}

#[test]
fn the_last_thirty_two_incidents_are_kept() {
    let machine = Machine::new();
    let mut store = machine.open_after(Duration::ZERO).store;
    for number in 0..40 {
        store.keep_incident(&format!("{{\"number\":{number}}}")).expect("kept");
    }
    drop(store);
    let expected: Vec<_> = (8..40).map(|number| format!("{{\"number\":{number}}}")).collect();
    assert_eq!(machine.open_after(HOUR).incidents, expected);
}

#[test]
fn a_token_is_kept_until_it_expires_or_a_reboot() {
    let machine = Machine::new();
    let mut store = machine.open_after(Duration::ZERO).store;
    let token = KeptToken { sealed: vec![1, 2, 3], expires_at: machine.base + HOUR };
    store.keep_token("main", &KeptToken { sealed: vec![9], ..token.clone() }).expect("kept");
    store.keep_token("main", &token).expect("kept");
    store.keep_token("other", &KeptToken { expires_at: machine.base + MINUTE, ..token.clone() }).expect("kept");
    drop(store);
    let kept = machine.open_after(2 * MINUTE).tokens;
    assert_eq!(kept, BTreeMap::from([("main".to_owned(), token)]));
    assert!(machine.open_after(HOUR).tokens.is_empty());
    let elsewhere = open_in(machine.dir.path(), machine.timeline("b", 2 * MINUTE)).expect("the store");
    assert!(elsewhere.tokens.is_empty());
}

#[test]
fn three_processes_in_a_row_keep_real_time() {
    let machine = Machine::new();
    let one = key("hr", "attendance");
    let end = clock::now() + HOUR;
    let mut store = Store::open(machine.dir.path()).expect("the store").store;
    store.write(&[(one.clone(), Row { lock: Some(end), ..Row::default() })]).expect("written");
    drop(store);
    for _ in 0..3 {
        let lock = kept(Store::open(machine.dir.path()).expect("the store").start_state)[&one].lock.expect("the lock");
        assert!(lock >= end && lock < end + Duration::from_millis(10), "{:?}", lock - end);
    }
}
