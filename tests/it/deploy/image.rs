//! The image and the compose file.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use serde_json::Value;

use super::{deploy, folder, tools, values};
use crate::support::{CLIENT_SECRET, Process, REFRESH_TOKEN, RedisServer, Sandbox};

/// The most that the image may take besides the program, in bytes; together they stay below 20 MB.
const MAX_LIBRARIES: u64 = 4_000_000;

#[test]
fn hadolint_has_nothing_to_say() {
    assert_eq!(tools::hadolint("Dockerfile"), "");
}

/// The program runs in a folder that has only the files of the image.
#[test]
fn the_image_has_all_that_the_program_needs() {
    let place = tempfile::tempdir().expect("a folder");
    let image = place.path().join("image");
    let collected = Command::new(folder().join("image-files"))
        .args([env!("CARGO_BIN_EXE_zoho-gateway"), image.to_str().expect("UTF-8")])
        .status();
    assert!(collected.expect("it runs").success());
    let file = deploy("Dockerfile");
    let program = values(&file, "ENTRYPOINT ")[0].trim_matches(['[', ']', '"']);
    let ended = Command::new("unshare")
        .args(["--map-root-user", "chroot", image.to_str().expect("UTF-8"), program, "routes"])
        .output()
        .expect("unshare, which tests/run installs");
    assert!(ended.status.success(), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stdout).contains("people.lms.share-course"));
    let libraries = size(&image) - size(&image.join("usr/local/bin"));
    assert!(libraries < MAX_LIBRARIES, "{libraries} bytes");
    // Its folder of state is one that the image's user may own, and nobody else reads.
    assert!(image.join(values(&file, "VOLUME ")[0].trim_start_matches('/')).is_dir());
    assert_eq!(fs::metadata(image.join(&program[1..])).expect("there").permissions().mode() & 0o777, 0o755);
}

fn size(folder: &std::path::Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let sizes = entries.map(|entry| match entry.metadata().expect("there") {
        metadata if metadata.is_dir() => size(&entry.path()),
        metadata => metadata.len(),
    });
    sizes.sum()
}

/// A builder sees only what `.dockerignore` lets through.
#[test]
fn the_builder_gets_each_file_that_it_copies() {
    let ignored = fs::read_to_string(folder().join("../.dockerignore")).expect("a file");
    let let_through: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let dockerfile = deploy("Dockerfile");
    assert!(values(&dockerfile, "COPY ").contains(&".cargo .cargo"), "settings of the build that make the start fast");
    for line in values(&dockerfile, "COPY ").into_iter().filter(|line| !line.starts_with("--from")) {
        let (sources, _) = line.rsplit_once(' ').expect("sources and a place");
        for source in sources.split(' ') {
            assert!(folder().join("..").join(source).exists(), "{source}");
            assert!(let_through.iter().any(|path| path.starts_with(source)), "{source} in {let_through:?}");
        }
    }
}

/// The image, the programs of a release and `Cargo.toml` name one version of the compiler.
#[test]
fn every_build_uses_the_compiler_of_the_project() {
    let read = |file: &str| fs::read_to_string(folder().join("..").join(file)).expect("a file");
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let version = manifest["package"]["rust-version"].as_str().expect("a version");
    assert!(deploy("Dockerfile").contains(&format!("FROM rust:{version}-slim-bookworm ")));
    let release = read(".github/workflows/release.yml");
    assert!(release.contains(&format!("container: rust:{version}-bookworm\n")));
    // Actions are pinned to commits, because a tag can be moved.
    for action in release.lines().filter_map(|line| line.split("uses: ").nth(1)) {
        let pin = action.split('@').nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        assert!(pin.len() == 40 && pin.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
    }
}

fn compose() -> Value {
    tools::documents(&["compose/compose.yaml"]).remove(0)
}

#[test]
fn the_compose_file_mounts_what_exists() {
    let compose = compose();
    let services = compose["services"].as_object().expect("services");
    let mut names: Vec<_> = services.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["gateway", "grafana", "prometheus", "redis"]);
    assert_eq!(services["gateway"]["init"], true, "with Redis it must not be process 1");
    let image = format!("zoho-gateway:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(services["gateway"]["image"], image.as_str());
    for (name, service) in services {
        for mount in service["volumes"].as_array().expect("volumes") {
            let source = mount.as_str().expect("a mount").split(':').next().expect("a source");
            let found = match source.strip_prefix('.') {
                Some(_) => folder().join("compose").join(source).exists(),
                None => compose["volumes"].as_object().expect("volumes").contains_key(source),
            };
            assert!(found, "{name}: {source}");
        }
        for secret in service["secrets"].as_array().into_iter().flatten() {
            assert!(compose["secrets"].get(secret.as_str().expect("a name")).is_some(), "{name}: {secret}");
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().expect("a port").starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
}

/// Redis starts with its settings, and admits the gateway with its configuration.
#[test]
fn the_files_of_the_compose_file_fit_the_programs() {
    let place = tempfile::tempdir().expect("a folder");
    let moved = |text: &str| text.replace("/run/secrets", &place.path().display().to_string());
    for (name, secret) in
        [("client_secret", CLIENT_SECRET), ("refresh_token", REFRESH_TOKEN), ("redis_password", "1000.c11e27")]
    {
        fs::write(place.path().join(name), secret).expect("written");
    }
    let page = fs::read_to_string(folder().join("../docs/deploying.md")).expect("a page");
    let user = page.split("secrets/redis_user").next().expect("commands");
    let user = user.rsplit("echo \"").next().and_then(|rest| rest.split('"').next()).expect("the user");
    fs::write(place.path().join("redis_user"), format!("{}\n", user.replace("$password", "1000.c11e27")))
        .expect("written");
    let (settings, file) = (place.path().join("redis.conf"), place.path().join("gateway.toml"));
    fs::write(&settings, moved(&deploy("compose/redis.conf"))).expect("written");
    let server = RedisServer::start(&["--include", settings.to_str().expect("UTF-8")]);
    let text = moved(&deploy("compose/gateway.toml")).replace("redis://redis:6379", &server.url());
    let (zoho, client) = (Sandbox::boundless(), "1000.SANDBOX");
    let url = zoho.url();
    let endpoints =
        format!("[accounts.main.endpoints]\naccounts = \"{url}\"\npeople = \"{url}\"\ncalendar = \"{url}\"\n");
    fs::write(&file, text.replace("1000.ABC", client) + "\n" + &endpoints).expect("written");
    let ended = Process::run(&["check", "--online", "--config", file.to_str().expect("UTF-8")], &[]);
    assert!(ended.code == Some(0) && ended.stdout.contains("granted an access token"), "{ended:?}");
    assert!(server.command(&["PING"]).contains("NOAUTH"), "the server lets nobody else in");

    // User and settings are those of the plain manifest.
    let manifest = deploy("redis.yaml");
    assert!(manifest.contains(&format!("user.conf=\"{user}\"")), "{user}");
    for line in deploy("compose/redis.conf").lines().filter(|line| !line.starts_with(['#', 'i'])) {
        assert!(manifest.contains(&format!("    {line}\n")), "{line}");
    }
}
