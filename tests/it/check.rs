//! `check`: likely mistakes, problems that would keep a gateway from starting, and files of any size.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use serde_json::json;

use crate::support::{COURSE, Ended, Gateway, Process, Sandbox, Setup, get};

fn offline() -> Setup {
    let unreachable = "http://127.0.0.1:1";
    Setup::before_all(unreachable, unreachable, unreachable)
}

fn run(command: &str, setup: &Setup, env: &[(&str, &str)]) -> Ended {
    let config = setup.write();
    Process::run(&[command, "--config", config.to_str().expect("UTF-8")], env)
}

fn check(setup: &Setup) -> Ended {
    run("check", setup, &[])
}

/// `check` reported a placeholder as valid, and Zoho rejected every call.
#[test]
fn a_placeholder_is_reported_with_advice() {
    for (key, value, advice) in [
        ("client_id", "${ZOHO_CLIENT_ID}", "client_id = { env = \"ZOHO_CLIENT_ID\" }"),
        ("client_id", "$MY_ID", "client_id = { env = \"MY_ID\" }"),
        ("client_id", "%ZOHO_ID%", "client_id = { env = \"ZOHO_ID\" }"),
        ("client_secret", "changeme", "client_secret = { env = \"ZOHO_CLIENT_SECRET\" }"),
        ("client_secret", "xxx", "client_secret = { env = \"ZOHO_CLIENT_SECRET\" }"),
        ("client_secret", "/run/secrets/zoho", "client_secret = { file = \"PATH\" }"),
        ("refresh_token", "<refresh-token>", "refresh_token = { env = \"ZOHO_REFRESH_TOKEN\" }"),
        ("refresh_token", "your-refresh-token", "refresh_token = { env = \"ZOHO_REFRESH_TOKEN\" }"),
    ] {
        let setup = offline().set(&format!("accounts.main.{key}"), value);
        let ended = check(&setup);
        let line = ended.stderr.lines().find(|line| line.contains(&format!("accounts.main.{key}: ")));
        let line = line.unwrap_or_else(|| panic!("{value}: {ended:?}"));
        assert!(line.starts_with("warning: ") && line.contains(advice), "{line}");
        assert!(line.contains("gateway.toml:"), "the position is missing: {line}");
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    // White space is an error.
    for value in ["<client id>", "{{ .Values.id }}", "TO DO"] {
        let message = check(&offline().set("accounts.main.client_id", value));
        assert_eq!(message.code, Some(2), "{message:?}");
        assert!(value == "TO DO" || message.stderr.contains("{ env = \"ZOHO_CLIENT_ID\" }"), "{message:?}");
    }
    let clean = check(&offline());
    assert_eq!((clean.code, clean.stderr.as_str()), (Some(0), ""), "{clean:?}");
}

#[test]
fn a_placeholder_in_a_variable_or_a_file_is_reported() {
    let setup = offline().without("accounts.main.client_secret").set("accounts.main.client_secret.env", "ZOHO_SECRET");
    let ended = run("check", &setup, &[("ZOHO_SECRET", "changeme")]);
    assert!(ended.stderr.contains("accounts.main.client_secret.env: looks like a placeholder"), "{ended:?}");
    let setup = offline().without("accounts.main.client_secret").set("accounts.main.client_secret.file", "./secret");
    fs::write(setup.path("secret"), "{{client_secret}}\n").expect("written");
    let ended = check(&setup);
    assert!(ended.stderr.contains("accounts.main.client_secret.file: looks like a placeholder"), "{ended:?}");
}

#[test]
fn cleartext_over_a_network_is_reported() {
    let warned = |key: &str, url: &str| {
        let ended = check(&offline().set(&format!("accounts.main.endpoints.{key}"), url));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let is_warning = |line: &&str| line.starts_with("warning: ") && line.contains(&format!("endpoints.{key}: "));
        ended.stderr.lines().any(|line| is_warning(&line) && line.contains("in the clear") && line.contains("https://"))
    };
    for (key, url) in [
        ("accounts", "http://accounts.zoho.com"),
        ("accounts", "http://10.1.2.3:9300"),
        ("people", "http://people.zoho.com"),
        ("calendar", "http://[2001:db8::1]:80"),
    ] {
        assert!(warned(key, url), "{key} {url}");
    }
    for url in ["https://accounts.zoho.com", "http://127.0.0.1:9300", "http://localhost:9300", "http://[::1]:9300"] {
        assert!(!warned("accounts", url), "{url}");
    }
}

#[test]
fn a_missing_source_is_reported_by_name() {
    let secret = |kind: &str, name: &str| {
        let setup = offline().without("accounts.main.client_secret");
        check(&setup.set(&format!("accounts.main.client_secret.{kind}"), name))
    };
    for (kind, name, message) in [
        ("env", "ZOHO_CLIENT_SECRET", "the environment variable ZOHO_CLIENT_SECRET is not set"),
        ("env", "zoho_secret_2", "the environment variable zoho_secret_2 is not set"),
        ("env", "${ZOHO_CLIENT_SECRET}", "write env = \"ZOHO_CLIENT_SECRET\""),
        ("file", "client-secret.txt", "client-secret.txt cannot be read"),
        ("file", "secrets/zoho", "secrets/zoho cannot be read"),
        ("file", "/run/secrets/zoho", "the file /run/secrets/zoho cannot be read"),
    ] {
        let ended = secret(kind, name);
        assert!(ended.code == Some(2) && ended.stderr.contains(message), "{name}: {ended:?}");
    }
    // A secret pasted in place of its name is not repeated.
    for (kind, pasted) in [("env", "8cb99d0f00c11e27aa8ef2d0"), ("file", "1000.8ef20b7e41.c11e278cb9")] {
        let ended = secret(kind, pasted);
        assert!(ended.code == Some(2) && !ended.stderr.contains(pasted), "{ended:?}");
    }
}

#[test]
fn missing_quotes_are_reported() {
    for (line, message) in [
        ("proxy.listen = 127.0.0.1:8080", "proxy.listen = \"...\""),
        ("proxy.listen = [127.0.0.1:8080]", "\"...\""),
        ("accounts.main.data_center = us", "accounts.main.data_center = \"...\""),
        ("queue.max_wait = 30s", "queue.max_wait = \"...\""),
        ("state.dir = /var/lib/x", "state.dir = \"...\""),
    ] {
        let setup = offline();
        let config = setup.write();
        fs::write(&config, format!("{line}\n")).expect("written");
        let ended = Process::run(&["check", "--config", config.to_str().expect("UTF-8")], &[]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("the quotes are missing") && ended.stderr.contains(message), "{line}: {ended:?}");
    }
}

/// `check` said "valid", and `run` then created a folder with that literal name.
#[test]
fn a_path_that_a_shell_would_expand_is_reported() {
    for (key, value) in [
        ("state.dir", json!("${HOME}/state")),
        ("state.dir", json!("~/state")),
        ("state.dir", json!("%HOME%/state")),
        ("audit.file", json!("$AUDIT")),
        ("proxy.listen", json!(["unix:${NAME}.sock"])),
    ] {
        let ended = check(&offline().set(key, value.clone()));
        let line = ended.stderr.lines().find(|line| line.contains(&format!("{key}: ")));
        let line = line.unwrap_or_else(|| panic!("{value}: {ended:?}"));
        assert!(line.starts_with("warning: ") && line.contains("write the"), "{line}");
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let ended = check(&offline().set("audit.file", "~/audit/audit.log"));
    assert!(ended.code == Some(2) && ended.stderr.contains("begins with ~"), "{ended:?}");
}

/// `check` said "valid", and `run` then ended with code 1.
#[test]
fn check_finds_paths_that_keep_run_from_starting() {
    let cases = |setup: &Setup| {
        fs::write(setup.path("file"), "").expect("written");
        fs::create_dir(setup.path("folder")).expect("made");
        rustix_pipe(&setup.path("pipe"));
        symlink("nowhere/audit.log", setup.path("dangling")).expect("linked");
        fs::create_dir(setup.path("kept")).expect("made");
        symlink("elsewhere.redb", setup.path("kept/ledger.redb")).expect("linked");
        fs::create_dir(setup.path("held")).expect("made");
        symlink("nowhere/holder", setup.path("held/holder")).expect("linked");
        vec![
            ("state.dir", json!("/proc/nowhere/state"), "/proc/nowhere/state"),
            ("state.dir", json!("file"), "file"),
            ("state.dir", json!("file/state"), "file/state"),
            ("audit.file", json!("/proc/audit.log"), "/proc/audit.log"),
            ("audit.file", json!("pipe"), "pipe"),
            ("audit.file", json!("dangling"), "dangling"),
            ("state.dir", json!("kept"), "kept/ledger.redb"),
            ("state.dir", json!("held"), "held/holder"),
            ("proxy.listen", json!(["unix:file"]), "file"),
            ("proxy.listen", json!(["unix:nowhere/proxy.sock"]), "nowhere"),
            ("proxy.listen", json!(["unix:/nope/x.sock"]), "/nope"),
            ("proxy.listen", json!(["unix:file/x.sock"]), "file"),
        ]
    };
    let count = cases(&offline()).len();
    for number in 0..count {
        let setup = offline();
        let (key, value, path) = cases(&setup).swap_remove(number);
        let setup = setup.set(key, value);
        for command in ["check", "run"] {
            let ended = run(command, &setup, &[]);
            assert_eq!(ended.code, Some(1), "{command} {key} {path}: {ended:?}");
            assert!(ended.stderr.contains(path), "{command} {key}: {ended:?}");
        }
        let ended = check(&setup);
        assert!(ended.stderr.contains(&format!("{key}: ")), "{ended:?}");
    }
    let ended = check(&offline().set("proxy.listen", json!(["unix:/run/zoho-gateway-nowhere/proxy.sock"])));
    assert!(ended.code == Some(0) && ended.stderr.contains("nowhere is not there"), "{ended:?}");
}

fn rustix_pipe(path: &Path) {
    crate::support::shell(&format!("mkfifo {}", path.display()));
}

/// `check` may run next to a gateway, and before its first start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_changes_nothing() {
    let zoho = Sandbox::boundless();
    let setup = Gateway::before(&zoho).set("audit.file", "audit.log").set("state.dir", "var/lib/state");
    assert_eq!(check(&setup).code, Some(0));
    assert!(!setup.path("var").exists() && !setup.path("audit.log").exists());
    let gateway = setup.start();
    assert_eq!(check(&setup).code, Some(0));
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let mut names: Vec<_> = fs::read_dir(setup.path("var/lib/state"))
        .expect("a folder")
        .map(|entry| entry.expect("one").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["handover.sock", "holder", "jobs.redb", "ledger.redb", "locks.json", "newest"]);
    assert_eq!(fs::metadata(setup.path("var/lib/state")).expect("a folder").permissions().mode() & 0o777, 0o700);
    drop(gateway);
}

/// A file of 10 MB made 56 MB of output.
#[test]
fn the_output_is_bounded_for_any_file() {
    let long = "k".repeat(300_000);
    let many = |line: &dyn Fn(usize) -> String| (0..20_000).map(line).collect::<String>();
    for (text, count) in [
        (many(&|n| format!("k{n} = 1\n")), Some(20_000)),
        (many(&|n| format!("[routes.\"people.lms.share-cours{n}\"]\nrequests = 3\n")), Some(20_000)),
        (format!("[proxy]\na = {{{}}}\n", many(&|n| format!("k{n}=1,")) + "z=1"), None),
        (format!("[proxy]\n{}", many(&|n| format!("k{n} = \"x\"\n"))), Some(20_000)),
        (format!("[proxy]\nlisten = [{}\"y\"]\n", many(&|_| "\"x\",".to_owned())), Some(20_001)),
        (many(&|_| "x\n".to_owned()), Some(20_000)),
        (format!("{long} = 1\n"), None),
        (format!("[routes.{long}]\nrequests = 3\n"), None),
        (format!("[accounts.{long}]\n"), None),
        (format!("{}a = 1\n", "a.".repeat(100_000)), None),
        (format!("a = {}\n", "[".repeat(100_000)), None),
    ] {
        let setup = offline();
        let config = setup.write();
        let text = if count.is_some() && !text.starts_with("x\n") {
            format!(
                "{text}\n[accounts.main]\nclient_id = \"1000.A\"\nclient_secret = \"c11e27\"\nrefresh_token = \"1000.8e\"\n"
            )
        } else {
            text
        };
        fs::write(&config, &text).expect("written");
        for command in ["check", "run", "routes"] {
            let ended = Process::run(&[command, "--config", config.to_str().expect("UTF-8")], &[]);
            let beginning: String = text.chars().take(60).collect();
            assert_eq!(ended.code, Some(2), "{beginning}");
            assert!(ended.stderr.len() < 64 * 1024, "{beginning}: {} bytes", ended.stderr.len());
            if let Some(count) = count {
                assert!(
                    ended.stderr.contains(&format!("... and {} more", count - 50)),
                    "{beginning}: {}",
                    ended.stderr
                );
                assert!(ended.stderr.ends_with(&format!("{count} problems in the configuration")), "{beginning}");
            }
        }
    }
    let globs: Vec<_> = (0..5000).map(|n| format!("nothing-{n}")).collect();
    let setup = offline().set("callers.a.key_sha256", crate::support::HASH_OF_ONE).set("callers.a.accounts", "main");
    let ended = check(&setup.set("callers.a.allow", json!(globs)));
    assert!(ended.code == Some(0) && ended.stderr.len() < 64 * 1024, "{} bytes", ended.stderr.len());
}
