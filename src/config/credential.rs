//! A credential: the text itself, or `{ env = "NAME" }`, or `{ file = "PATH" }`.
//!
//! People paste a secret in place of its file's or variable's name, so a message repeats a name only if it does not look
//! like a secret. The position says which line is meant.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use super::{
    environment::Overrides,
    keys::Kind,
    placeholder::{Placeholder, may_be_a_secret},
    reader::{Located, Section},
};
use crate::secret::{
    Secret,
    credential::{Credential, Unusable},
};

/// Where a running service of systemd finds its credentials.
const OF_SYSTEMD: &str = "/run/credentials/";

/// The one credential that the program can get itself.
pub(super) const REFRESH_TOKEN: &str = "refresh_token";

/// The credential that is a URL. Its "://" is not the sign of a placeholder.
pub(super) const REDIS: &str = "redis";

/// What references refer to.
pub(super) struct Surroundings<'a> {
    /// The environment, for `{ env = "NAME" }`.
    pub(super) variables: &'a Overrides,
    /// The configuration file's folder: relative paths start there.
    pub(super) folder: &'a Path,
    /// Whether refresh tokens may be missing.
    pub(super) refresh_tokens: RefreshTokens,
}

/// Whether refresh tokens may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefreshTokens {
    /// They may not: the gateway needs them to run.
    Needed,
    /// They may: a login is about to get one.
    Awaited,
}

impl Surroundings<'_> {
    /// The file's path and what `read` makes of it, or what is wrong with the file.
    pub(super) fn in_file<T, E: Display>(
        &self,
        path: &str,
        read: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Result<(PathBuf, T), String> {
        let resolved = self.folder.join(path);
        match read(&resolved) {
            Ok(value) => Ok((resolved, value)),
            Err(error) => Err(format!("{} {error}", self.named(path))),
        }
    }

    /// The file's path for a message, unless the path may be a secret.
    fn named(&self, path: &str) -> String {
        if path.contains('/') || !may_be_a_secret(path) {
            return format!("the file {}", self.folder.join(path).display());
        }
        format!("the file of that name in the folder {}", self.folder.display())
    }
}

/// Reads a required credential.
pub(super) fn read(section: &mut Section<'_>, key: &'static str, around: &Surroundings<'_>) -> Option<Credential> {
    read_or(section, key, around, false)
}

/// Reads a refresh token, which may be missing before a login.
pub(super) fn refresh_token(section: &mut Section<'_>, around: &Surroundings<'_>) -> Option<Credential> {
    read_or(section, REFRESH_TOKEN, around, around.refresh_tokens == RefreshTokens::Awaited)
}

fn read_or(
    section: &mut Section<'_>,
    key: &'static str,
    around: &Surroundings<'_>,
    awaited: bool,
) -> Option<Credential> {
    if section.is_table(key) {
        return section.section(key, |reference| follow(reference, key, around, awaited));
    }
    let absent = section.whereabouts(key).is_none();
    if !awaited {
        section.required(key, &Kind::Secret.expected());
    }
    let written = section.parsed(key, |text| written(key, text));
    if awaited && absent { Some(Credential::awaited(None)) } else { judged(section, key, key, written) }
}

/// A credential from its text. If the text is invalid and looks like a placeholder, the message says what to write.
fn written(key: &str, text: &str) -> Result<Credential, String> {
    Credential::written(Secret::from(text)).map_err(|error| match Placeholder::of(text) {
        Some(placeholder) => format!("{error}; it {}", placeholder.advice(key)),
        None => error.to_string(),
    })
}

/// The credential, with a warning if it looks like a placeholder. `at` is the key that holds it.
fn judged(section: &Section<'_>, key: &str, at: &str, found: Option<Located<Credential>>) -> Option<Credential> {
    let Located { value, origin } = found?;
    if key != REDIS
        && let Some(placeholder) = Placeholder::of(value.current().expose())
    {
        section.doubtful(at, &origin, placeholder.advice(key));
    }
    Some(value)
}

/// The variable's name for a message, unless the name may be a secret.
fn variable(name: &str) -> String {
    if may_be_a_secret(name) {
        return "the environment variable of that name".to_owned();
    }
    format!("the environment variable {name}")
}

/// Reads the credential that a reference names.
fn follow(reference: &mut Section<'_>, key: &str, around: &Surroundings<'_>, awaited: bool) -> Option<Credential> {
    let places = ["env", "file"].into_iter().filter(|key| reference.whereabouts(key).is_some()).count();
    let of_env = reference.parsed("env", |name| {
        let value = around.variables.value(name);
        if value.is_none() && awaited {
            return Ok(Credential::awaited(None));
        }
        let value = value.ok_or_else(|| match Placeholder::of(name) {
            Some(Placeholder::Variable(bare)) if bare != name => {
                format!("expected the name alone; write env = \"{bare}\"")
            }
            _ => format!("{} is not set", variable(name)),
        })?;
        let value = value.to_str().ok_or_else(|| format!("{} is not UTF-8 text", variable(name)))?;
        written(key, value).map_err(|message| format!("{} {message}", variable(name)))
    });
    let of_file = reference.path("file", |path| {
        let resolved = around.folder.join(path);
        match Credential::in_file(resolved.clone()) {
            Err(Unusable::Empty) if awaited => Ok(Credential::awaited(Some(resolved))),
            Err(Unusable::Unread(error)) if awaited && error.is_absent() => Ok(Credential::awaited(Some(resolved))),
            Err(Unusable::Unread(error)) if key == REFRESH_TOKEN && error.is_absent() => {
                Err(format!("{} is not there; `zoho-gateway login` writes it", around.named(path)))
            }
            Err(Unusable::Unread(error)) if error.is_absent() && path.starts_with(OF_SYSTEMD) => Err(format!(
                "{} is not there; {OF_SYSTEMD} exists only inside the service. Name the file that LoadCredential \
                             reads, and let a variable of the service lead to its copy",
                around.named(path)
            )),
            outcome => outcome.map_err(|message| format!("{} {message}", around.named(path))),
        }
    });
    if places != 1 {
        reference.refuse(format!("expected {}", Kind::Secret.expected()));
    }
    let at = if of_env.is_some() { "env" } else { "file" };
    judged(reference, key, at, of_env.or(of_file))
}
