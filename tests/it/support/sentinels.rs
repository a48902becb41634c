//! Sentinels of a test that watch a master.

use std::{
    fmt::Write as _,
    fs,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{RedisServer, free_port, redis::server_program, until};

/// Three Sentinels that watch a master and its replicas. They notice within about a second that it is away.
pub(crate) struct Sentinels {
    ports: Vec<u16>,
    children: Vec<Child>,
    _folder: TempDir,
}

impl Sentinels {
    /// Starts them, and waits until they know each other and the replicas.
    pub(crate) async fn watch(master: &RedisServer, replicas: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let children = ports.iter().map(|port| spawn(&folder, *port, master)).collect();
        let sentinels = Self { ports, children, _folder: folder };
        let known = format!("num-slaves\n{replicas}\n|num-other-sentinels\n2\n");
        until("the Sentinels know each other and the replicas", async || {
            let told = |port: &u16| command(*port, &["SENTINEL", "MASTER", "main"]) + "\n";
            sentinels.ports.iter().all(|port| known.split('|').all(|known| told(port).contains(known)))
        })
        .await;
        sentinels
    }

    /// Their URL.
    pub(crate) fn url(&self) -> String {
        let addresses: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis-sentinel://{}/main", addresses.join(","))
    }

    /// The port of one.
    pub(crate) fn port(&self, index: usize) -> u16 {
        self.ports[index]
    }

    /// Runs a command on each.
    pub(crate) fn command(&self, arguments: &[&str]) {
        self.ports.iter().for_each(|port| drop(command(*port, arguments)));
    }

    /// The port of the master that all state, if they agree.
    pub(crate) fn master(&self) -> Option<u16> {
        let stated = |port: &u16| {
            let address = command(*port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
            address.lines().nth(1)?.parse().ok()
        };
        let stated: Vec<Option<u16>> = self.ports.iter().map(stated).collect();
        stated.iter().all(|port| *port == stated[0]).then_some(stated[0])?
    }

    /// Sends SIGKILL to one.
    pub(crate) fn kill(&mut self, index: usize) {
        let _ = self.children[index].kill();
        self.children[index].wait().expect("the child is ours");
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        (0..self.children.len()).for_each(|index| self.kill(index));
    }
}

fn spawn(folder: &TempDir, port: u16, master: &RedisServer) -> Child {
    let dir = folder.path().join(port.to_string());
    fs::create_dir(&dir).expect("a folder for its data");
    let file = dir.join("sentinel.conf");
    let mut config = String::new();
    for line in [
        format!("port {port}"),
        "bind 127.0.0.1".to_owned(),
        format!("dir {}", dir.display()),
        format!("logfile {}", dir.join("log").display()),
        format!("sentinel monitor main 127.0.0.1 {} 2", master.port()),
        "sentinel down-after-milliseconds main 500".to_owned(),
        "sentinel failover-timeout main 3000".to_owned(),
    ] {
        writeln!(config, "{line}").expect("a String takes everything");
    }
    fs::write(&file, config).expect("its configuration");
    Command::new(server_program())
        .arg(file)
        .arg("--sentinel")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server starts; tests/run installs it")
}

fn command(port: u16, arguments: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(arguments).output();
    String::from_utf8(output.expect("redis-cli runs; tests/run installs it").stdout).expect("text")
}
