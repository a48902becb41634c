//! The program's version, and its commit if it is a release build from a checkout.
//!
//! Development builds have no commit: each commit would compile the whole crate again.

use std::{env, fs, path::Path, process::Command};

/// For builds without `.git`, such as those of an image.
const COMMIT: &str = "ZOHO_GATEWAY_COMMIT";

/// As many digits as `git log --abbrev=12` shows.
const DIGITS: usize = 12;

/// Tells the program both.
pub(crate) fn tell() {
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
