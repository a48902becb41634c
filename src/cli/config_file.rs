//! Where the configuration file is.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use super::{ConfigFile, Failure, tell};

/// The variable that names the file.
const VARIABLE: &str = "ZOHO_GATEWAY_CONFIG";

/// The file that `init` writes.
pub(super) const IN_THIS_FOLDER: &str = "zoho-gateway.toml";

/// The file in a folder of configurations.
const IN_A_FOLDER: &str = "zoho-gateway/gateway.toml";

impl ConfigFile {
    /// The given file, or the usual one.
    pub(super) fn locate(self) -> Result<PathBuf, Failure> {
        self.config.or_else(usual).ok_or_else(|| Failure::Usage(nothing_found()))
    }

    /// The given file, or the usual one, which is named on standard error.
    pub(super) fn find(self) -> Result<PathBuf, Failure> {
        let is_given = self.config.is_some();
        let file = self.locate()?;
        if !is_given {
            tell_usual(&file)?;
        }
        Ok(file)
    }
}

/// The given file, or the usual one if there is one, which is named on standard error.
pub(super) fn find_any(given: Option<PathBuf>) -> io::Result<Option<PathBuf>> {
    if given.is_some() {
        return Ok(given);
    }
    let found = usual();
    found.as_deref().map_or(Ok(()), tell_usual)?;
    Ok(found)
}

fn tell_usual(file: &Path) -> io::Result<()> {
    tell(&format!("using the configuration {}\n", file.display()))
}

/// The file that the environment names, whether it exists or not; otherwise the first of the usual files that exists.
pub(super) fn usual() -> Option<PathBuf> {
    let named = env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| places().into_iter().find(|path| path.exists()))
}

fn places() -> Vec<PathBuf> {
    let folder = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let own = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    let folders = own.into_iter().chain([PathBuf::from("/etc")]);
    [Path::new(".").join(IN_THIS_FOLDER)].into_iter().chain(folders.map(|folder| folder.join(IN_A_FOLDER))).collect()
}

fn nothing_found() -> String {
    let places: Vec<_> = places().iter().map(|place| place.display().to_string()).collect();
    format!(
        "there is no configuration: {VARIABLE} is not set, and none of {} exists.\n\
         `zoho-gateway init` writes ./{IN_THIS_FOLDER}, --config FILE names another file, and `zoho-gateway run --sandbox` \
         needs none",
        places.join(", ")
    )
}
