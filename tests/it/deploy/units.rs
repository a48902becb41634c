//! The units of systemd and the package for Debian.

use std::fs;

use super::{deploy, folder, values};
use crate::support::shell;

const UNITS: [&str; 3] = ["zoho-gateway.service", "zoho-gateway.socket", "zoho-gateway-admin.socket"];

/// The greatest exposure by systemd's measure, in tenths: 0 is the best, 100 the worst.
const MAX_EXPOSURE: u32 = 12;

#[test]
fn systemd_understands_the_units_and_calls_them_safe() {
    if shell("command -v systemd-analyze || true").is_empty() {
        panic!("systemd-analyze is missing here; tests/run installs everything that the tests need");
    }
    // The program need not be installed for this check.
    let place = tempfile::tempdir().expect("a folder");
    for unit in UNITS {
        let start = format!("ExecStart={} ", env!("CARGO_BIN_EXE_zoho-gateway"));
        let text = deploy(unit).replace("ExecStart=zoho-gateway ", &start);
        fs::write(place.path().join(unit), text).expect("written");
    }
    let paths = UNITS.map(|unit| place.path().join(unit).display().to_string()).join(" ");
    let said = shell(&format!("systemd-analyze verify --man=no {paths} 2>&1 || true"));
    assert!(!said.lines().any(|line| line.contains("zoho-gateway")), "{said}");
    let service = place.path().join(UNITS[0]).display().to_string();
    let security = format!("systemd-analyze security --offline=true --no-pager --threshold={MAX_EXPOSURE} {service}");
    let said = shell(&format!("{security} 2>&1; echo \"exit $?\""));
    assert!(said.trim_end().ends_with("exit 0"), "{said}");
    // The page names the measured figure.
    let figure = said.split("exposure level for zoho-gateway.service: ").nth(1).and_then(|rest| rest.split(' ').next());
    let page = fs::read_to_string(folder().join("../docs/deploying.md")).expect("a page");
    let documented = page.split("`systemd-analyze security` gives it ").nth(1).and_then(|rest| rest.split(' ').next());
    assert!(
        documented.is_some_and(|documented| documented == format!("{:.1}", f64::from(MAX_EXPOSURE) / 10.0)),
        "{figure:?}"
    );
}

#[test]
fn the_sockets_belong_to_the_service() {
    for (unit, name) in [("zoho-gateway.socket", "proxy"), ("zoho-gateway-admin.socket", "admin")] {
        let text = deploy(unit);
        assert_eq!(values(&text, "FileDescriptorName="), [name]);
        assert_eq!(values(&text, "Service="), ["zoho-gateway.service"]);
        let page = fs::read_to_string(folder().join("../config/gateway.example.toml")).expect("the example");
        assert!(page.contains(values(&text, "ListenStream=")[0]), "the default of {name}.listen");
    }
    assert_eq!(values(&deploy("zoho-gateway.service"), "ExecReload="), ["/bin/kill -HUP $MAINPID"]);
}

/// What `cargo deb` packs exists, and the units lie where systemd looks for them.
#[test]
fn the_package_for_debian_has_its_files() {
    let manifest: toml::Table =
        fs::read_to_string(folder().join("../Cargo.toml")).expect("a file").parse().expect("TOML");
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets = deb["assets"].as_array().expect("assets");
    let mut units = Vec::new();
    for asset in assets {
        let [source, target, mode] = ["source", "dest", "mode"].map(|key| asset[key].as_str().expect("a text"));
        let made = source == "target/release/zoho-gateway";
        assert!(made || folder().join("..").join(source).exists(), "{source}");
        assert_eq!(mode, if made { "755" } else { "644" }, "{source}");
        if target == "usr/lib/systemd/system/" {
            units.push(source.trim_start_matches("deploy/"));
        }
    }
    assert_eq!(units, UNITS);
}
