//! Tells the program its version, and its commit if it is a release build from a checkout; and writes the catalogue as JSON,
//! which the program reads several times faster than TOML at each start.
//!
//! Development builds have no commit: each commit would compile the whole crate again.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// For builds without `.git`, such as those of an image.
const COMMIT: &str = "ZOHO_GATEWAY_COMMIT";

/// As many digits as `git log --abbrev=12` shows.
const DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={COMMIT}");
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let given = env::var(COMMIT).ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| if is_release { commit_of(Path::new(&root)) } else { None });
    let commit: String = commit.unwrap_or_default().chars().take(DIGITS).collect();
    let suffix = if commit.is_empty() { String::new() } else { format!(" ({commit})") };
    println!("cargo::rustc-env={COMMIT}={commit}");
    println!("cargo::rustc-env=ZOHO_GATEWAY_VERSION={version}{suffix}");
    let catalogue = Path::new(&root).join("config/catalogue");
    println!("cargo::rerun-if-changed={}", catalogue.display());
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default()).join("catalogue");
    if let Err(error) = write_as_json(&catalogue, &out) {
        println!("cargo::error={error}");
    }
}

/// Writes each TOML file of a folder, and of those in it, as JSON. The error names file and line.
fn write_as_json(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path.is_dir() {
            write_as_json(&path, &to.join(name))?;
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let about = |error: toml::de::Error| format!("{}: {}", path.display(), error.to_string().replace('\n', " "));
        let table: toml::Table = toml::from_str(&text).map_err(about)?;
        fs::write(to.join(name).with_extension("json"), serde_json::to_string(&table)?)?;
    }
    Ok(())
}

/// The commit of this checkout. `None` without git, and for a source archive inside another repository.
fn commit_of(root: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(root).ok()? {
        return None;
    }
    // The reflog changes with each commit, HEAD with each change of the branch.
    for name in ["HEAD", "logs/HEAD"] {
        let file = git(&["rev-parse", "--git-path", name]).map(|path| root.join(path));
        if let Some(file) = file.filter(|file| file.exists()) {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    git(&["rev-parse", "HEAD"])
}
