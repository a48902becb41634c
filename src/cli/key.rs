//! `key`: a new API key for a caller, or the hash of an existing one.
//!
//! Only the key goes to standard output, so that a script can read it. The text for the configuration goes to standard
//! error, so that nobody confuses the two.

use std::io::{self, Read};

use super::{Failure, print, print_once, tell};
use crate::middleware::caller::{KeyHash, new_key};

/// Longer than any key: a longer input is a mistake.
const LONGEST_KEY: u64 = 16 * 1024;

/// Makes a key.
pub(super) fn make() -> Result<(), Failure> {
    let key = new_key().map_err(|error| Failure::Run(error.to_string()))?;
    let hash = KeyHash::of(key.expose().as_bytes());
    tell(&format!(
        "The key is shown once and stored nowhere. The caller sends it as Authorization: Bearer KEY.\n\
         The gateway knows only its SHA-256, in [callers.NAME] or the file that it names:\n\
         key_sha256 = \"{hash}\"\n"
    ))?;
    Ok(print_once(&format!("{}\n", key.expose()))?)
}

/// Prints the hash of the key on standard input, which no process listing shows.
pub(super) fn hash() -> Result<(), Failure> {
    let mut text = Vec::new();
    let read = io::stdin().lock().take(LONGEST_KEY + 1).read_to_end(&mut text);
    read.map_err(|error| Failure::Run(format!("cannot read the key: {error}")))?;
    let key = text.strip_suffix(b"\n").unwrap_or(&text);
    let key = key.strip_suffix(b"\r").unwrap_or(key);
    let fits = |byte: &u8| byte.is_ascii_graphic();
    if key.is_empty() || key.len() as u64 > LONGEST_KEY || !key.iter().all(fits) {
        return Err(Failure::Usage(
            "expected a key on standard input: one line of visible ASCII characters, without spaces".to_owned(),
        ));
    }
    Ok(print(&format!("{}\n", KeyHash::of(key)))?)
}
