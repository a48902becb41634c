//! The program as a child process, with every line of its output.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use super::PATIENCE;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_zoho-gateway");

/// A running program.
pub(crate) struct Process {
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

#[derive(Default)]
struct Output {
    text: Mutex<Text>,
    grown: Condvar,
}

#[derive(Default)]
struct Text {
    stdout: Vec<String>,
    stderr: Vec<String>,
    /// How many of the two streams have ended.
    ended: usize,
}

#[derive(Clone, Copy)]
enum Stream {
    Out,
    Err,
}

impl Process {
    /// Starts the program. Its environment is ours without variables that would configure it, plus `env`.
    pub(crate) fn start<A: AsRef<OsStr>>(arguments: &[A], env: &[(&str, &str)]) -> Self {
        Self::spawn(Command::new(PROGRAM), arguments, env)
    }

    /// The same, after the shell command `first`.
    pub(crate) fn start_after<A: AsRef<OsStr>>(first: &str, arguments: &[A], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!(r#"{first}; exec "$0" "$@""#), PROGRAM]);
        Self::spawn(command, arguments, env)
    }

    /// Starts the program as a service manager does that listens on a socket for it.
    pub(crate) fn start_activated<A: AsRef<OsStr>>(
        socket: OwnedFd,
        name: &str,
        arguments: &[A],
        env: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new("sh");
        let first = format!("exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name}");
        command.args(["-c", &format!(r#"{first}; exec "$0" "$@""#), PROGRAM]).stdin(Stdio::from(socket));
        Self::spawn_with(command, arguments, env)
    }

    fn spawn<A: AsRef<OsStr>>(mut command: Command, arguments: &[A], env: &[(&str, &str)]) -> Self {
        command.stdin(Stdio::null());
        Self::spawn_with(command, arguments, env)
    }

    fn spawn_with<A: AsRef<OsStr>>(mut command: Command, arguments: &[A], env: &[(&str, &str)]) -> Self {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let proxies = text.to_ascii_uppercase().ends_with("_PROXY");
            if text.starts_with("ZOHO_")
                || text.starts_with("OTEL_")
                || proxies
                || text == "RUST_LOG"
                || text == "RUST_BACKTRACE"
            {
                command.env_remove(&name);
            }
        }
        command.args(arguments).envs(env.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let output = Arc::new(Output::default());
        let readers = vec![
            read(child.stdout.take().expect("stdout is piped"), Stream::Out, &output),
            read(child.stderr.take().expect("stderr is piped"), Stream::Err, &output),
        ];
        Self { child, output, readers }
    }

    /// Runs the program to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(arguments: &[A], env: &[(&str, &str)]) -> Ended {
        let mut process = Self::start(arguments, env);
        process.wait();
        process.ended()
    }

    /// Waits for a line of standard output in which `find` finds a value.
    pub(crate) fn said<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        self.wait_for(|text| text.stdout.iter().find_map(|line| find(line)))
    }

    /// Waits for a line of the log in which `find` finds a value.
    pub(crate) fn logged<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        self.wait_for(|text| text.stderr.iter().find_map(|line| find(line)))
    }

    /// Waits for a line of the log with these words.
    pub(crate) fn logs(&self, words: &str) {
        self.logged(|line| line.contains(words).then_some(()));
    }

    /// The log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.output.text.lock().expect("no reader panics").stderr.clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        // The shell's own `kill`: a bare system has no other.
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
        assert!(status.is_ok(), "sh runs");
    }

    /// Waits for its end and returns the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        const STEP: Duration = Duration::from_millis(5);
        for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                self.readers.drain(..).for_each(|reader| reader.join().expect("no reader panics"));
                return ExitStatus::code(&status);
            }
            std::thread::sleep(STEP);
        }
        self.kill();
        panic!("the program did not end; its log:\n{}", self.log().join("\n"));
    }

    /// Sends SIGKILL.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its whole output.
    pub(crate) fn printed(&self) -> String {
        let text = self.output.text.lock().expect("no reader panics");
        text.stdout.iter().chain(&text.stderr).fold(String::new(), |all, line| all + line + "\n")
    }

    fn ended(&mut self) -> Ended {
        let code = self.wait();
        let text = self.output.text.lock().expect("no reader panics");
        Ended { code, stdout: text.stdout.join("\n"), stderr: text.stderr.join("\n") }
    }

    fn wait_for<T>(&self, find: impl Fn(&Text) -> Option<T>) -> T {
        let text = self.output.text.lock().expect("no reader panics");
        let vain = |text: &mut Text| find(text).is_none() && text.ended < 2;
        let (text, _) = self.output.grown.wait_timeout_while(text, PATIENCE, vain).expect("no reader panics");
        find(&text).unwrap_or_else(|| {
            panic!("the program did not print what was expected:\n{:#?}\n{:#?}", text.stdout, text.stderr)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A graceful end is the test's own step before.
        self.kill();
    }
}

fn read(from: impl Read + Send + 'static, stream: Stream, output: &Arc<Output>) -> JoinHandle<()> {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut text = output.text.lock().expect("no reader panics");
            match stream {
                Stream::Out => text.stdout.push(line),
                Stream::Err => text.stderr.push(line),
            }
            output.grown.notify_all();
        }
        output.text.lock().expect("no reader panics").ended += 1;
        output.grown.notify_all();
    })
}
