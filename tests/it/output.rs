//! Commands in a pipe and probes: readers that leave early, and the address that `healthcheck` uses.

use std::{
    io::Read,
    process::{Command, Stdio},
};

use crate::support::{COURSE, Ended, Gateway, Process, Sandbox, Setup, get};

/// The stream whose reader is gone before the first line.
#[derive(Clone, Copy, Debug)]
enum Gone {
    Output,
    Both,
}

/// Runs the program with closed pipes; returns its exit code and what it could still print.
fn run_unread(arguments: &[&str], gone: Gone) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zoho-gateway"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    drop(child.stdout.take());
    let mut stderr = child.stderr.take();
    if let Gone::Both = gone {
        stderr = None;
    }
    let mut said = String::new();
    if let Some(mut stderr) = stderr {
        stderr.read_to_string(&mut said).expect("UTF-8");
    }
    (child.wait().expect("the child is ours").code(), said)
}

fn offline() -> Setup {
    let unreachable = "http://127.0.0.1:1";
    Setup::before_all(unreachable, unreachable, unreachable)
}

/// `routes | head` ended with "Broken pipe" and exit code 1.
#[test]
fn a_reader_that_leaves_early_is_not_an_error() {
    let setup = offline();
    let config = setup.write();
    let config = config.to_str().expect("UTF-8");
    for arguments in [
        &["routes"][..],
        &["routes", "--json"],
        &["routes", "--config", config],
        &["routes", "GET", "/people/api/v1/courses/1/share"],
        &["check", "--config", config],
        &["--help"],
        &["routes", "--help"],
        &["--version"],
    ] {
        assert_eq!(run_unread(arguments, Gone::Output), (Some(0), String::new()), "{arguments:?}");
        assert_eq!(run_unread(arguments, Gone::Both).0, Some(0), "{arguments:?}");
    }
}

/// The exit code reports the failure, with or without a reader.
#[test]
fn a_failure_without_a_reader_keeps_its_exit_code() {
    let setup = offline().set("proxy.drian", "1s");
    let config = setup.write();
    let config = config.to_str().expect("UTF-8");
    for gone in [Gone::Output, Gone::Both] {
        assert_eq!(run_unread(&["check", "--config", config], gone).0, Some(2), "{gone:?}");
        assert_eq!(run_unread(&["routes", "GET", "/nowhere"], gone).0, Some(2), "{gone:?}");
        assert_eq!(run_unread(&["healthcheck", "--admin", "http://127.0.0.1:1"], gone).0, Some(1), "{gone:?}");
    }
    // A key is printed once and exists nowhere else.
    assert_eq!(run_unread(&["key"], Gone::Output).0, Some(1));
    let mut full = Command::new("sh");
    full.args(["-c", "exec \"$0\" routes >/dev/full", env!("CARGO_BIN_EXE_zoho-gateway")]).stderr(Stdio::null());
    assert_eq!(full.status().expect("sh runs").code(), Some(1));
}

fn probe(arguments: &[&str], env: &[(&str, &str)]) -> Ended {
    Process::run(&[&["healthcheck"], arguments].concat(), env)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn healthcheck_uses_the_address_in_the_configuration() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let admin = gateway.admin_address().to_owned();
    let (_, port) = admin.rsplit_once(':').expect("a port");
    let ready = |ended: Ended| {
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("\"ready\""), "{ended:?}");
    };
    let variable = "ZOHO_GATEWAY__ADMIN__LISTEN";
    ready(probe(&[], &[(variable, &admin)]));
    ready(probe(&[], &[(variable, &format!("0.0.0.0:{port}"))]));

    // It reads only the address: mistakes elsewhere concern the next gateway, not the running one.
    let other =
        offline().set("admin.listen", admin.as_str()).set("proxy.drian", "1s").without("accounts.main.client_id");
    let config = other.write();
    let config = config.to_str().expect("UTF-8");
    ready(probe(&["--config", config], &[("ZOHO_GATEWAY__PROXY__DRIAN", "1s")]));

    let unanswered = offline().set("admin.listen", "127.0.0.1:1");
    let unreachable = unanswered.write();
    let unreachable = unreachable.to_str().expect("UTF-8");
    ready(probe(&["--config", unreachable], &[(variable, &admin)]));
    ready(probe(&["--config", unreachable, "--admin", &format!("http://{admin}")], &[(variable, "127.0.0.1:1")]));
    let ended = probe(&["--config", unreachable], &[]);
    assert!(ended.code == Some(1) && ended.stderr.contains("http://127.0.0.1:1"), "{ended:?}");

    for (config, value, message) in [
        ("/nowhere/gateway.toml", None, "/nowhere/gateway.toml"),
        (unreachable, Some("unix:/run/x.sock"), variable),
        (unreachable, Some("127.0.0.1:0"), "--admin"),
    ] {
        let env: Vec<_> = value.map(|value| (variable, value)).into_iter().collect();
        let ended = probe(&["--config", config], &env);
        assert!(ended.code == Some(2) && ended.stderr.contains(message), "{ended:?}");
    }
}

/// On a terminal the prompt followed the answer on the same line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_ends_in_a_newline() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    for call in [
        get("/nowhere"),
        get("/people/api/../x"),
        get(COURSE).header("gateway-account", "berlin"),
        get(COURSE).header("gateway-dry-run", "?1"),
    ] {
        let answer = gateway.send(&call).await;
        assert!(answer.text().ends_with("}\n"), "{answer:?}");
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()), "{answer:?}");
    }
    for page in ["/livez", "/readyz", "/status", "/nowhere"] {
        assert!(gateway.admin(page).await.text().ends_with('\n'), "{page}");
    }
}

/// A pseudo-terminal shows what a person would see.
#[test]
fn colours_are_left_out_on_request() {
    let setup = offline().set("callers.idle.key_sha256", crate::support::HASH_OF_ONE).set("state.dir", "/proc/no");
    let config = setup.write();
    let program = env!("CARGO_BIN_EXE_zoho-gateway");
    let line = format!("{program} run --config {}", config.display());
    let shown =
        |env: &str| crate::support::shell(&format!("{env} script --quiet --command '{line}' /dev/null || true"));
    for (env, coloured) in [
        ("env -u NO_COLOR TERM=xterm", true),
        ("NO_COLOR= TERM=xterm", true),
        ("NO_COLOR=1 TERM=xterm", false),
        ("env -u NO_COLOR TERM=dumb", false),
    ] {
        let shown = shown(env);
        assert!(shown.contains("caller idle may do nothing"), "{shown}");
        assert_eq!(shown.contains('\u{1b}'), coloured, "{env}: {shown:?}");
    }
}
