//! A redis-server of a test, in a temporary folder.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;
use zoho_gateway::{
    redis::{Failover, Server, Settings, Topology},
    upstream::{ExtraRoots, tls},
};

use super::{PATIENCE, ms, until};

/// A running or stopped server on a TCP port and a Unix socket. Each write is on the disk before it is answered.
pub(crate) struct RedisServer {
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
    child: Child,
}

impl RedisServer {
    /// Starts a server with further arguments of redis-server, and waits until it answers.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let port = free_port();
        let child = spawn(&folder, port, &arguments);
        let mut server = Self { folder, port, arguments, child };
        server.wait();
        server
    }

    /// The URL of its TCP port.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its TCP port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// For a client without a password, over TCP.
    pub(crate) fn settings(&self) -> Settings {
        settings(self.port)
    }

    /// Runs a command by redis-cli, which takes its own options first, and returns what it prints.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").arg("-s").arg(self.socket()).args(arguments).output();
        let output = output.expect("redis-cli runs; tests/run installs it");
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }

    /// Sends SIGSTOP: the server keeps its connections and answers nothing.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Sends SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    /// Sends SIGTERM and waits for its end.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        self.child.wait().expect("the child is ours");
    }

    /// Sends SIGKILL.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        self.child.wait().expect("the child is ours");
    }

    /// Starts it again after `stop` or `kill`, on the same port and with its data.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.folder, self.port, &self.arguments);
        self.wait();
    }

    /// The same without its data.
    pub(crate) fn restart_empty(&mut self) {
        fs::remove_dir_all(self.folder.path().join("data")).expect("its data");
        self.restart();
    }

    fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(status.expect("sh runs").success(), "SIG{name} is sent");
    }

    /// Waits until it answers, even if only with a request for a password.
    fn wait(&mut self) {
        let step = ms(5);
        for _ in 0..PATIENCE.as_millis() / step.as_millis() {
            if self.answers() {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                panic!("redis-server ended with {status}: {}", self.log());
            }
            std::thread::sleep(step);
        }
        panic!("redis-server does not answer: {}", self.log());
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = UnixStream::connect(self.socket()) else { return false };
        let mut answer = [0; 5];
        stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && [b"+PONG", b"-NOAU"].contains(&&answer)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The settings of a client without a password, for a server on this port.
pub(crate) fn settings(port: u16) -> Settings {
    Settings {
        topology: Topology::Single(Server::network("127.0.0.1".to_owned(), port, false)),
        tls: Arc::new(tls(&ExtraRoots::default())),
        user: None,
        password: None,
        sentinel_password: None,
        database: 0,
        namespace: "test".to_owned(),
        failover: Failover::None,
        replicas: 0,
    }
}

/// Servers that replicate this one, in step with it.
pub(crate) async fn replicas_of(master: &RedisServer, count: usize) -> Vec<RedisServer> {
    let of_master = format!("127.0.0.1 {}", master.port);
    let replicas: Vec<_> = (0..count).map(|_| RedisServer::start(&["--replicaof", &of_master])).collect();
    let online = || master.command(&["INFO", "replication"]).matches("state=online").count();
    until("the replicas are connected", async || online() == count).await;
    replicas
}

fn spawn(folder: &TempDir, port: u16, arguments: &[String]) -> Child {
    let data = folder.path().join("data");
    fs::create_dir_all(&data).expect("a folder for its data");
    // The socket of a killed server would refuse connections.
    let _ = fs::remove_file(folder.path().join("redis.sock"));
    Command::new(server_program())
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no", "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"])
        .arg("--dir")
        .arg(data)
        .arg("--unixsocket")
        .arg(folder.path().join("redis.sock"))
        .arg("--logfile")
        .arg(folder.path().join("log"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts; tests/run installs it")
}

/// The server that is tested: redis-server, or another one that takes the same arguments, such as valkey-server.
pub(crate) fn server_program() -> String {
    env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

/// A free port below those that the kernel hands out, so that nothing takes it while its server is stopped. The bus of a
/// cluster uses the port that is 10000 higher.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u32 = 10_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Other test processes begin elsewhere.
        let offset = (process::id() * 97 + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = FIRST + u16::try_from(offset).expect("less than COUNT");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
