//! What a new user tries first: a configuration file, the usual places, the version, the manual, and the sandbox in a
//! container.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::support::{COURSE, Gateway, Process, Sandbox, get, shell};

const PROGRAM: &str = env!("CARGO_BIN_EXE_zoho-gateway");

/// Runs the program in a folder that is also the home folder, with these variables only.
fn run_in(folder: &Path, arguments: &[&str], env: &[(&str, &str)], stdin: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().env("HOME", folder).envs(env.iter().copied()).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // A program that fails early does not read it.
    let _ = child.stdin.take().expect("it is piped").write_all(stdin.as_bytes());
    child.wait_with_output().expect("the child is ours")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn init_writes_a_valid_file_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| run_in(folder.path(), arguments, &[], "");
    let nothing = run(&["check"]);
    assert_eq!(nothing.status.code(), Some(2));
    for advice in ["zoho-gateway init", "--config FILE", "run --sandbox", "./zoho-gateway.toml", "/etc/zoho-gateway/"] {
        assert!(stderr(&nothing).contains(advice), "{nothing:?}");
    }
    let wrote = run(&["init"]);
    assert!(wrote.status.success() && stderr(&wrote).contains("zoho-gateway run\n"), "{wrote:?}");
    let file = folder.path().join("zoho-gateway.toml");
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "secrets will be in it");
    let text = fs::read_to_string(&file).expect("it is there");
    assert_eq!(stdout(&run(&["init", "--stdout"])), text);

    let checked = run(&["check"]);
    assert!(checked.status.success() && stdout(&checked).contains("the configuration is valid"), "{checked:?}");
    assert!(stderr(&checked).contains("using the configuration ./zoho-gateway.toml"), "{checked:?}");
    for key in ["client_id", "client_secret", "refresh_token"] {
        let warned =
            stderr(&checked).lines().any(|line| line.contains(key) && line.contains("looks like a placeholder"));
        assert!(warned, "{key}: {checked:?}");
    }
    fs::write(&file, "mine").expect("the folder can be written to");
    let again = run(&["init"]);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "mine");
    assert!(run(&["init", "other.toml"]).status.success());
}

#[test]
fn the_configuration_is_found_in_the_usual_places() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = stdout(&run_in(folder.path(), &["init", "--stdout"], &[], ""));
    // Each place takes precedence over those before it; its port shows which file was read.
    let places =
        [".config/zoho-gateway/gateway.toml", "xdg/zoho-gateway/gateway.toml", "zoho-gateway.toml", "named.toml"];
    let [xdg, named] = ["xdg", "named.toml"].map(|name| folder.path().join(name).display().to_string());
    for (index, place) in places.into_iter().enumerate() {
        let path = folder.path().join(place);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be written to");
        fs::write(&path, text.replace(":8080", &format!(":1808{index}"))).expect("the folder can be written to");
        let mut env = Vec::new();
        if index > 0 {
            env.push(("XDG_CONFIG_HOME", xdg.as_str()));
        }
        if index == 3 {
            env.push(("ZOHO_GATEWAY_CONFIG", named.as_str()));
        }
        let checked = run_in(folder.path(), &["check"], &env, "");
        assert!(stdout(&checked).contains(&format!("proxy    127.0.0.1:1808{index}")), "{place}: {checked:?}");
    }
}

#[test]
fn a_configuration_comes_from_standard_input() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = stdout(&run_in(folder.path(), &["init", "--stdout"], &[], ""));
    let checked = run_in(folder.path(), &["check", "--config", "-"], &[], &text);
    assert!(checked.status.success(), "{checked:?}");
    let wrong = run_in(folder.path(), &["run", "--config", "-"], &[], "proxy.listn = 1\n");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("<stdin>:1:7: proxy.listn: unknown key"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_override_the_addresses() {
    let zoho = Sandbox::boundless();
    let first = Gateway::before(&zoho).start();
    let config = first.setup().path("gateway.toml").display().to_string();
    let run = |options: &[&str]| {
        // The first gateway uses the state.
        let env = [("ZOHO_GATEWAY__STATE__DIR", "other"), ("ZOHO_GATEWAY__PROXY__LISTEN", "127.0.0.1:1")];
        Process::start(&[&["run", "--config", &config], options].concat(), &env)
    };
    let second = run(&["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let address = second.logged(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line["message"] == "the proxy listens").then(|| line["address"].as_str().map(str::to_owned))?
    });
    get(COURSE).send(&address).await.is_zohos(200);
    second.terminate();

    for (options, key) in [
        (["--listen", first.address(), "--admin-listen", "127.0.0.1:0"], "proxy.listen, or run --listen ADDR"),
        (
            ["--listen", "127.0.0.1:0", "--admin-listen", first.admin_address()],
            "admin.listen, or run --admin-listen ADDR",
        ),
    ] {
        let mut taken = run(&options);
        assert_eq!(taken.wait(), Some(1));
        let printed = taken.printed();
        assert!(printed.contains("Address already in use") && printed.contains(key), "{printed}");
    }
    let mut open = run(&["--listen", "0.0.0.0:0"]);
    assert_eq!(open.wait(), Some(2));
    assert!(open.printed().contains("--listen: proxy.listen: expected a loopback address"), "{}", open.printed());
}

/// `docker run -p 8080:8080 IMAGE run --sandbox --listen 0.0.0.0:8080`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_is_usable_through_a_published_port() {
    let arguments = ["run", "--sandbox", "--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0"];
    let mut program = Process::start(&arguments, &[]);
    program.said(|line| line.contains("shareData").then_some(()));
    let printed = program.printed();
    let calls: Vec<_> = printed.lines().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(calls.len(), 3, "{printed}");
    for call in calls {
        let answer = shell(&format!("{call} --silent"));
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{call}\n{answer}");
        let (before, after) = call.split_once(" -H '").expect("a key");
        let anonymous = format!("{before} {} --silent", after.split_once('\'').expect("a quote").1);
        assert!(shell(&anonymous).starts_with("HTTP/1.1 401 "), "{anonymous}");
    }
    program.terminate();
    assert_eq!(program.wait(), Some(0));
}

#[test]
fn the_version_completions_and_manual_are_printed() {
    let version = Process::run(&["--version"], &[]).succeeded();
    let (program, rest) = version.split_once(' ').expect("a version");
    assert!(program == "zoho-gateway" && rest.starts_with(env!("CARGO_PKG_VERSION")), "{version}");
    for (shell, sign) in [
        ("bash", "complete -F _zoho__gateway"),
        ("elvish", "edit:completion"),
        ("fish", "complete -c zoho-gateway"),
        ("powershell", "Register-ArgumentCompleter"),
        ("zsh", "#compdef zoho-gateway"),
    ] {
        let script = Process::run(&["completions", shell], &[]).succeeded();
        assert!(script.contains(sign) && script.contains("healthcheck"), "{shell}: {script}");
    }
    let manual = Process::run(&["man"], &[]).succeeded();
    assert!(manual.contains(".TH zoho-gateway 1") && manual.contains("zoho\\-gateway\\-pause(1)"), "{manual}");
    let manual = Process::run(&["man", "pause"], &[]).succeeded();
    assert!(manual.contains(".TH zoho-gateway-pause 1") && manual.contains("\\-\\-caller"), "{manual}");
    let unknown = Process::run(&["man", "x"], &[]);
    assert!(unknown.code == Some(2) && unknown.stderr.contains("healthcheck"), "{unknown:?}");
}

/// The commit of release builds: `build.rs` is compiled alone and runs in a repository, beside one, and without one.
#[test]
fn the_version_names_the_commit_of_its_own_repository_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("build");
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/build/version.rs");
    let source = folder.path().join("build.rs");
    let text = format!("#[path = {module:?}] mod version; fn main() {{ version::tell() }}");
    fs::write(&source, text).expect("the folder can be written to");
    let compiled = Command::new("rustc").args(["--edition", "2024", "-o"]).arg(&script).arg(&source).status();
    assert!(compiled.expect("rustc runs").success());
    let version = |root: &Path, profile: &str, given: &str| {
        let mut command = Command::new(&script);
        command.env("CARGO_PKG_VERSION", "1.2.3").env("CARGO_MANIFEST_DIR", root).env("PROFILE", profile);
        command.env("ZOHO_GATEWAY_COMMIT", given).env("GIT_CEILING_DIRECTORIES", folder.path());
        stdout(&command.output().expect("it runs")).lines().last().expect("a line").to_owned()
    };
    let repository = folder.path().join("repository");
    let archive = repository.join("archive");
    fs::create_dir_all(&archive).expect("the folder can be written to");
    let plain = "cargo::rustc-env=ZOHO_GATEWAY_VERSION=1.2.3";
    assert_eq!(version(&repository, "release", ""), plain, "without a repository");
    let git = format!("git -C {} -c user.name=a -c user.email=a@b.example", repository.display());
    shell(&format!("{git} init --quiet && {git} commit --quiet --allow-empty --message x"));
    let commit = shell(&format!("{git} rev-parse HEAD"));
    let with_commit = format!("{plain} ({})", &commit[..12]);
    assert_eq!(version(&repository, "release", ""), with_commit);
    assert_eq!(version(&archive, "release", ""), plain, "an archive inside another repository");
    assert_eq!(version(&repository, "debug", ""), plain, "each commit would compile everything again");
    assert_eq!(version(&archive, "debug", &commit), with_commit, "as an image's build says it");
}
