use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

fn put(record: &[u8], request: Part, answer: Part) -> Option<Put> {
    let (account, caller) = ("main".to_owned(), "one".to_owned());
    Some(Put { account, caller, state: Known::Job(State::Queued), until: 7, record: record.to_vec(), request, answer })
}

fn set(bytes: &[u8]) -> Part {
    Part::Set(bytes.to_vec())
}

#[tokio::test]
async fn everything_durable_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let [one, other, removed] = [0, 1, 2].map(|_| JobId::generate());
    let (store, rows) = Store::open(Some(dir.path())).unwrap();
    assert!(rows.is_empty());
    let mode = fs::metadata(dir.path().join("jobs.redb")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Not awaited one by one: their order is that of the calls.
    let written = [
        store.write(Change { id: one, put: put(b"1", set(b"request"), Part::Unchanged) }),
        store.write(Change { id: removed, put: put(b"2", set(b"x"), set(b"x")) }),
        store.write(Change { id: other, put: put(b"3", set(b"y"), Part::Unchanged) }),
        store.write(Change { id: other, put: put(b"4", Part::Removed, set(b"answer")) }),
        store.write(Change { id: removed, put: None }),
    ];
    for written in written {
        written.await.unwrap();
    }
    store.write_later(Change { id: one, put: put(b"5", Part::Unchanged, Part::Unchanged) });
    store.close().await;
    let (store, rows) = Store::open(Some(dir.path())).unwrap();
    let row = |id, record: &[u8], request: Option<&[u8]>| Row {
        id,
        account: "main".to_owned(),
        until: 7,
        record: record.to_vec(),
        request: request.map(<[u8]>::to_vec),
        reserved: false,
        doubtful: false,
    };
    assert_eq!(rows, [row(one, b"5", Some(b"request")), row(other, b"4", None)]);
    assert_eq!(store.answer("main", other).await, Ok(Some(b"answer".to_vec())));
    assert_eq!((store.answer("main", one).await, store.answer("main", removed).await), (Ok(None), Ok(None)));
}

#[tokio::test]
async fn after_the_end_nothing_is_promised() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(Some(dir.path())).unwrap();
    store.close().await;
    assert_eq!(store.write(Change { id: JobId::generate(), put: None }).await, Err(Unavailable));
}

#[tokio::test]
async fn another_file_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        fs::write(dir.path().join("jobs.redb"), "no database").unwrap();
        let (store, rows) = Store::open(Some(dir.path())).unwrap();
        assert!(rows.is_empty());
        store.close().await;
    }
    let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["jobs.redb", "jobs.redb.damaged-1", "jobs.redb.damaged-2", "jobs.redb.damaged-3"]);
}

#[test]
fn several_changes_of_a_job_are_as_good_as_one() {
    let [one, other] = [0, 1].map(|_| JobId::generate());
    let merged = newest(vec![
        Change { id: one, put: put(b"1", set(b"r"), Part::Unchanged) },
        Change { id: other, put: put(b"2", set(b"r"), set(b"a")) },
        Change { id: one, put: put(b"3", Part::Unchanged, set(b"a")) },
        Change { id: other, put: None },
    ]);
    let [first, second] = &merged[..] else { panic!("{merged:?}") };
    assert_eq!((first.id, second.id), (one, other));
    let put = first.put.as_ref().unwrap();
    assert_eq!(put.record, b"3");
    assert!(
        matches!((&put.request, &put.answer), (Part::Set(request), Part::Set(answer)) if request == b"r" && answer == b"a")
    );
    assert!(second.put.is_none());
}
