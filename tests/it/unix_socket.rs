//! Callers on a Unix socket.

use serde_json::json;

use crate::support::{COURSE, Gateway, Sandbox, curl};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_is_served_and_its_file_removed() {
    let zoho = Sandbox::boundless();
    let setup = Gateway::before(&zoho);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("proxy.sock");
    // A killed process left its file behind.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists());

    let path = path.to_str().expect("UTF-8");
    let mut gateway = setup.set("proxy.listen", json!([format!("unix:{path}"), "127.0.0.1:0"])).start();
    assert_eq!(gateway.address(), format!("unix:{path}"));
    let url = format!("http://gateway{COURSE}");
    let printed = curl(&["--unix-socket", path, "--write-out", "\n%{http_code}", &url]);
    assert!(printed.ends_with("\n200") && printed.contains("sharedUsers"), "{printed}");
    assert_eq!(zoho.requests().await.len(), 1);

    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    assert!(!std::path::Path::new(path).exists());
}
