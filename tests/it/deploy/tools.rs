//! The tools that check deploy/, which `tests/run` installs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::folder;

/// What promtool says about the files in deploy/prometheus.
pub(super) fn promtool(arguments: &[&str]) -> String {
    let own = tools().join("prometheus/usr/bin/promtool");
    let program = if own.exists() { own } else { "promtool".into() };
    said(Command::new(program).args(arguments).current_dir(folder().join("prometheus")))
}

/// What hadolint finds in a Dockerfile.
pub(super) fn hadolint(file: &str) -> String {
    said(Command::new(tools().join("python/bin/hadolint")).arg(folder().join(file)))
}

/// The documents of YAML files in deploy/.
pub(super) fn documents(files: &[&str]) -> Vec<Value> {
    python("json", files)
}

/// The same, after a check against the schemas of Kubernetes.
pub(super) fn manifests(files: &[&str]) -> Vec<Value> {
    python("validate", files)
}

/// What the chart makes of these values, after `helm lint` and the same check.
pub(super) fn rendered(values: &Value) -> Vec<Value> {
    let output = render(values);
    serde_json::from_str(&output.unwrap_or_else(|said| panic!("{said}"))).expect("JSON")
}

/// Why the chart rejects these values.
pub(super) fn rejected(values: &Value) -> String {
    render(values).expect_err("rejected")
}

fn render(values: &Value) -> Result<String, String> {
    let chart = folder().join("helm/zoho-gateway");
    run(script().arg("render").arg(chart).arg(values.to_string()))
}

fn python(command: &str, files: &[&str]) -> Vec<Value> {
    let files = files.iter().map(|file| folder().join(file));
    serde_json::from_str(&said(script().arg(command).args(files))).expect("JSON")
}

fn script() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", tools().join("python")).arg(folder().join("../tests/deploy.py"));
    python
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools")
}

#[track_caller]
fn said(command: &mut Command) -> String {
    run(command).unwrap_or_else(|said| panic!("{said}"))
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; tests/run installs everything that the tests need");
    });
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let said = text(output.stdout);
    if output.status.success() { Ok(said) } else { Err(format!("{command:?}:\n{said}{}", text(output.stderr))) }
}
