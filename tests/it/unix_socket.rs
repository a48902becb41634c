//! Callers on a Unix socket.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::support::{COURSE, Gateway, Process, Sandbox, Setup, curl, get};

/// A gateway on its own socket, and the path of that.
fn on_a_socket(zoho: &Sandbox) -> (Setup, PathBuf) {
    let setup = Gateway::before(zoho);
    let path = setup.path("proxy.sock");
    let address = format!("unix:{}", path.display());
    (setup.set("proxy.listen", json!([address, "127.0.0.1:0"])), path)
}

/// The permission bits of a file, its owner and its group.
fn access(path: &Path) -> (u32, u32, u32) {
    let file = fs::metadata(path).expect("the file is there");
    (file.mode() & 0o7777, file.uid(), file.gid())
}

/// Whether these tests may change the owner of files.
fn is_root(folder: &Path) -> bool {
    let file = folder.join("probe");
    fs::write(&file, "").expect("the folder can be written to");
    chown(&file, Some(12_345), None).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_is_served_and_its_file_removed() {
    let zoho = Sandbox::boundless();
    let (setup, path) = on_a_socket(&zoho);
    // A killed process left its file behind.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists());

    let mut gateway = setup.start();
    assert_eq!(gateway.address(), format!("unix:{}", path.display()));
    let url = format!("http://gateway{COURSE}");
    let socket = path.to_str().expect("UTF-8");
    let printed = curl(&["--unix-socket", socket, "--write-out", "\n%{http_code}", &url]);
    assert!(printed.ends_with("\n200") && printed.contains("sharedUsers"), "{printed}");
    assert_eq!(zoho.requests().await.len(), 1);

    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_is_private_to_its_user_by_default() {
    let zoho = Sandbox::boundless();
    let (setup, path) = on_a_socket(&zoho);
    let gateway = setup.start();
    let (_, user, group) = access(&setup.write());
    assert_eq!(access(&path), (0o600, user, group));
    gateway.send(&get(COURSE)).await.is_zohos(200);

    // A second gateway does not touch the socket of the first one.
    let config = setup.set("state.dir", "other").write();
    let second = Process::run(&[Path::new("run"), Path::new("--config"), &config], &[]);
    assert_eq!(second.code, Some(1), "{second:?}");
    let message = format!("cannot listen on unix:{}: Address already in use", path.display());
    assert!(second.stderr.contains(&message), "{second:?}");
    gateway.send(&get(COURSE)).await.is_zohos(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_gets_the_configured_mode_and_owner() {
    let zoho = Sandbox::boundless();
    let (setup, path) = on_a_socket(&zoho);
    let (_, user, group) = access(&setup.write());
    let setup = setup.set("proxy.unix.mode", "0666");
    let given = setup.clone().set("proxy.unix.owner", "12345").set("proxy.unix.group", "54321");
    if is_root(path.parent().expect("a folder")) {
        let gateway = given.start();
        assert_eq!(access(&path), (0o666, 12_345, 54_321));
        gateway.send(&get(COURSE)).await.is_zohos(200);
        drop(gateway);
        let gateway = setup.set("proxy.unix.owner", "root").start();
        assert_eq!(access(&path), (0o666, 0, group));
        gateway.send(&get(COURSE)).await.is_zohos(200);
    } else {
        let config = given.write();
        let ended = Process::run(&[Path::new("run"), Path::new("--config"), &config], &[]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("the mode and owner of proxy.unix"), "{ended:?}");
        assert!(!path.exists(), "what could not be given away is not left behind");
        let gateway = setup.start();
        assert_eq!(access(&path), (0o666, user, group));
        gateway.send(&get(COURSE)).await.is_zohos(200);
    }
}

/// Only a socket without a listener is replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_a_socket_is_not_replaced() {
    let zoho = Sandbox::boundless();
    let (setup, path) = on_a_socket(&zoho);
    fs::write(&path, "precious").expect("the folder can be written to");
    let config = setup.write();
    let ended = Process::run(&["run".as_ref(), "--config".as_ref(), config.as_os_str()], &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("the path has a file that is not a socket"), "{ended:?}");
    assert_eq!(fs::read_to_string(&path).expect("it is still there"), "precious");
}
