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
use crate::{
    credential::{Credential, Unusable},
    secret::Secret,
};

/// What a credential looks like, for messages.
const A_CREDENTIAL: &str = "a string, { env = \"NAME\" } or { file = \"PATH\" }";

/// The one credential that the program can get by itself.
const REFRESH_TOKEN: &str = "refresh_token";

/// Where references lead.
pub(super) struct Surroundings<'a> {
    /// The environment, for `{ env = "NAME" }`.
    pub(super) variables: &'a Variables,
    /// The configuration file's folder: relative paths start there.
    pub(super) folder: &'a Path,
    /// What becomes of a refresh token that is not there.
    pub(super) refresh_tokens: RefreshTokens,
}

/// Whether refresh tokens have to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefreshTokens {
    /// The gateway cannot run without.
    Needed,
    /// Somebody is about to get one.
    Awaited,
}

/// Reads a credential that must be there.
pub(super) fn read(section: &mut Section<'_>, key: &'static str, around: &Surroundings<'_>) -> Option<Credential> {
    read_or(section, key, around, false)
}

/// Reads a refresh token, which need not be there yet when one is about to be had.
pub(super) fn refresh_token(section: &mut Section<'_>, around: &Surroundings<'_>) -> Option<Credential> {
    read_or(section, REFRESH_TOKEN, around, around.refresh_tokens == RefreshTokens::Awaited)
}

fn read_or(
    section: &mut Section<'_>,
    key: &'static str,
    around: &Surroundings<'_>,
    awaited: bool,
) -> Option<Credential> {
    let Some(entry) = section.take(key) else {
        if awaited {
            return Some(Credential::awaited(None));
        }
        section.missing(key, &format!("is missing; expected {A_CREDENTIAL}"));
        return None;
    };
    let Entry { node, .. } = &entry;
    match &node.value {
        Value::Text(text) => match Credential::written(text.clone()) {
            Ok(credential) => Some(credential),
            Err(message) => {
                section.wrong(key, &node.origin, message.to_string());
                None
            }
        },
        Value::Table(_) => {
            section.put_back(entry);
            section.section(key, |reference| follow(reference, key, around, awaited))
        }
        other => {
            section.wrong_kind(key, &node.origin, A_CREDENTIAL, other);
            None
        }
    }
}

/// Follows a reference to where the credential is.
fn follow(reference: &mut Section<'_>, key: &str, around: &Surroundings<'_>, awaited: bool) -> Option<Credential> {
    let places = ["env", "file"].into_iter().filter(|key| reference.whereabouts(key).is_some()).count();
    let of_env = reference.parsed("env", "the name of an environment variable", |name| {
        let value = around.variables.value(name);
        if value.is_none() && awaited {
            return Ok(Credential::awaited(None));
        }
        let value = value.ok_or("names an environment variable that is not set")?;
        let value = value.to_str().ok_or("names an environment variable that is not UTF-8 text")?;
        Credential::written(Secret::from(value)).map_err(|message| message.to_string())
    });
    let of_file = reference.parsed("file", "a path", |path| {
        let resolved = resolved(path, around.folder);
        match Credential::in_file(resolved.clone()) {
            Err(Unusable::Empty) if awaited => Ok(Credential::awaited(Some(resolved))),
            Err(Unusable::Unread(error)) if awaited && error.kind() == io::ErrorKind::NotFound => {
                Ok(Credential::awaited(Some(resolved)))
            }
            Err(Unusable::Unread(error)) if key == REFRESH_TOKEN && error.kind() == io::ErrorKind::NotFound => {
                Err(format!("{} is not there; `zoho-gateway login` writes it", named(path, around.folder)))
            }
            outcome => outcome.map_err(|message| format!("{} {message}", named(path, around.folder))),
        }
    });
    if places != 1 {
        reference.refuse(format!("expected {A_CREDENTIAL}"));
    }
    of_env.or(of_file).map(|found| found.value)
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
