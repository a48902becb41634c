//! The clients that Zoho's pages use: curl, Python's requests, Node's fetch.

use std::{
    ffi::OsStr,
    io::{self, Write},
    process::{Command, Output, Stdio},
};

/// Runs curl and returns what it printed.
pub(crate) fn curl(arguments: &[&str]) -> String {
    run("curl", &[&["--silent", "--show-error"], arguments].concat())
}

/// Runs a Python program that may import requests.
pub(crate) fn python(program: &str, arguments: &[&str]) -> String {
    let imports = |python: &&str| {
        let output = Command::new(python).args(["-c", "import requests"]).stderr(Stdio::null()).output();
        output.is_ok_and(|output| output.status.success())
    };
    // A version manager may hide the system's Python, which has the distribution's packages.
    let python = ["python3", "/usr/bin/python3"].into_iter().find(imports);
    let python = python.unwrap_or_else(|| panic!("{}", missing("python3 with requests")));
    run(python, &[&["-c", program], arguments].concat())
}

/// Runs a JavaScript program.
pub(crate) fn node(program: &str, arguments: &[&str]) -> String {
    run("node", &[&["--eval", program, "--"], arguments].concat())
}

/// Runs a line in a shell.
pub(crate) fn shell(line: &str) -> String {
    run("sh", &["-c", line])
}

/// Changes a limit of a running process.
pub(crate) fn prlimit(process: u32, limit: &str) {
    run("prlimit", &["--pid", &process.to_string(), limit]);
}

/// The library that changes a process's wall clock, at its path in Debian.
pub(crate) fn libfaketime() -> String {
    let found = shell("ls /usr/lib/*/faketime/libfaketime.so.1 2>/dev/null || true");
    found.lines().next().unwrap_or_else(|| panic!("{}", missing("libfaketime"))).to_owned()
}

/// The command that starts a program in its own time namespace. `None` if the kernel does not permit it to this user;
/// then it prints that, even if the output is captured.
pub(crate) fn unshare_time() -> Option<&'static str> {
    let mut refusals = String::new();
    for command in ["unshare --time", "unshare --user --map-root-user --time"] {
        let output = Command::new("sh").args(["-c", &format!("{command} --fork true")]).stdin(Stdio::null()).output();
        let Output { status, stderr, .. } = output.expect("sh runs");
        if status.success() {
            return Some(command);
        }
        refusals.push_str(&String::from_utf8_lossy(&stderr));
    }
    assert!(refusals.contains("not permitted"), "{}: {refusals}", missing("unshare of util-linux 2.36"));
    let _ = io::stderr().write_all(b"time namespaces are not permitted here: what needs one is NOT tested\n");
    None
}

fn run<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output.unwrap_or_else(|_| panic!("{}", missing(program)));
    assert!(status.success(), "{program} ends with {status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}

fn missing(program: &str) -> String {
    format!("{program} is missing here; tests/run installs everything that the tests need")
}
