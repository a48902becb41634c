//! A credential: written out, or `{ env = "NAME" }`, or `{ file = "PATH" }`.
//!
//! People paste a secret where its file's or variable's name belongs, so a message repeats no variable's name, and no
//! file's name unless it holds a slash, which Zoho's credentials do not. The position says which line is meant.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    environment::Variables,
    reader::Section,
    source::{Entry, Value},
};
use crate::secret::Secret;

/// What a credential looks like, for messages.
const A_CREDENTIAL: &str = "a string, { env = \"NAME\" } or { file = \"PATH\" }";

/// More than any credential takes; a wrong path may lead to something endless.
const LONGEST_FILE: u64 = 64 * 1024;

/// Where references lead.
pub(super) struct Surroundings<'a> {
    /// The environment, for `{ env = "NAME" }`.
    pub(super) variables: &'a Variables,
    /// The configuration file's folder: relative paths start there.
    pub(super) folder: &'a Path,
}

/// Reads a credential that must be there.
pub(super) fn read(section: &mut Section<'_>, key: &'static str, around: &Surroundings<'_>) -> Option<Secret> {
    let Some(entry) = section.take(key) else {
        section.missing(key, &format!("is missing; expected {A_CREDENTIAL}"));
        return None;
    };
    let Entry { node, .. } = &entry;
    match &node.value {
        Value::Text(text) => match sound(text) {
            Ok(()) => Some(text.clone()),
            Err(message) => {
                section.wrong(key, &node.origin, message);
                None
            }
        },
        Value::Table(_) => {
            section.put_back(entry);
            section.section(key, |reference| follow(reference, around))
        }
        other => {
            section.wrong_kind(key, &node.origin, A_CREDENTIAL, other);
            None
        }
    }
}

/// Follows a reference to where the credential is.
fn follow(reference: &mut Section<'_>, around: &Surroundings<'_>) -> Option<Secret> {
    let places = ["env", "file"].into_iter().filter(|key| reference.whereabouts(key).is_some()).count();
    let of_env = reference.parsed("env", "the name of an environment variable", |name| {
        let value = around.variables.value(name).ok_or("names an environment variable that is not set")?;
        let value = value.to_str().ok_or("names an environment variable that is not UTF-8 text")?;
        let secret = Secret::from(value);
        sound(&secret).map(|()| secret)
    });
    let of_file = reference.parsed("file", "a path", |path| {
        let secret = content(path, around.folder)?;
        sound(&secret).map(|()| secret).map_err(|message| format!("{} {message}", named(path, around.folder)))
    });
    if places != 1 {
        reference.refuse(format!("expected {A_CREDENTIAL}"));
    }
    of_env.or(of_file).map(|found| found.value)
}

/// Whether it can be a credential. RFC 6749, appendix A: visible ASCII characters, no spaces.
fn sound(secret: &Secret) -> Result<(), &'static str> {
    match secret.expose() {
        "" => Err("is empty"),
        text if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(()),
        _ => Err("holds white space or other characters that no credential has; a stray newline is the usual mistake"),
    }
}

/// A file's text without the newline that editors leave at its end.
fn content(path: &str, folder: &Path) -> Result<Secret, String> {
    let unread = |error: io::Error| format!("{} cannot be read: {error}", named(path, folder));
    let file = open(path, folder).map_err(unread)?;
    let mut text = String::new();
    file.take(LONGEST_FILE + 1).read_to_string(&mut text).map_err(unread)?;
    let text = Secret::new(text);
    if text.expose().len() as u64 > LONGEST_FILE {
        return Err(format!("{} is too long for a credential", named(path, folder)));
    }
    Ok(Secret::from(text.expose().trim_end_matches(['\r', '\n'])))
}

/// Opens what a path leads to, which must be no folder.
pub(super) fn open(path: &str, folder: &Path) -> io::Result<File> {
    let file = File::open(resolved(path, folder))?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

/// What a file holds.
pub(super) fn contents(path: &str, folder: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    open(path, folder)?.read_to_end(&mut contents)?;
    Ok(contents)
}

/// A path, relative to the configuration file's folder.
fn resolved(path: &str, folder: &Path) -> PathBuf {
    folder.join(path)
}

/// A file for messages: by its path, unless the path might be a secret.
pub(super) fn named(path: &str, folder: &Path) -> String {
    if path.contains('/') {
        return format!("the file {}", resolved(path, folder).display());
    }
    format!("the file of that name in the folder {}", folder.display())
}
