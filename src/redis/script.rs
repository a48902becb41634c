//! A Lua script, the name by which a server remembers it, and one run of it.

use std::time::Duration;

use aws_lc_rs::digest;
use redis::Cmd;
use tokio::time::Instant;

use crate::{os::clock, secret::hex};

/// A Lua script. It must not change anything before its last command, because a server undoes nothing.
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) code: String,
    /// SHA-1 in hexadecimal digits: Redis' name for the script.
    pub(super) name: String,
    /// How the names of its further keys end; they begin with its first key.
    further_keys: &'static [&'static str],
}

impl Script {
    /// Takes over the code.
    #[must_use]
    pub fn new(code: &str) -> Self {
        let name = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, code.as_bytes());
        Self { code: code.to_owned(), name: hex::lower(name.as_ref()), further_keys: &[] }
    }

    /// The script uses these keys too: each of these after the name of its first key. A cluster has to know all of them,
    /// because it moves them one by one. They are on one node if the first one has a hash tag.
    #[must_use]
    pub fn with_further_keys(self, further_keys: &'static [&'static str]) -> Self {
        Self { further_keys, ..self }
    }
}

/// One run of a script, on its first key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'a> {
    script: &'a Script,
    pub(super) key: &'a str,
    arguments: &'a [&'a str],
    /// How many replicas have to have what it writes.
    pub(super) replicas: u32,
    /// Whether it runs on a node of a cluster to which its key is just moving.
    pub(super) asking: bool,
    /// How long it may take, connecting included.
    pub(super) timeout: Duration,
    pub(super) deadline: Instant,
}

impl<'a> Run<'a> {
    /// A run that begins now.
    pub(super) fn new(script: &'a Script, key: &'a str, arguments: &'a [&'a str], timeout: Duration) -> Self {
        Self { script, key, arguments, replicas: 0, asking: false, timeout, deadline: clock::now() + timeout }
    }

    pub(super) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(clock::now())
    }

    pub(super) fn replicated(self, replicas: u32) -> Self {
        Self { replicas, ..self }
    }

    pub(super) fn by_name(&self) -> Cmd {
        self.command("EVALSHA", &self.script.name)
    }

    pub(super) fn by_code(&self) -> Cmd {
        self.command("EVAL", &self.script.code)
    }

    fn command(&self, command: &str, text: &str) -> Cmd {
        let further = self.script.further_keys;
        let mut command = redis::cmd(command);
        command.arg(text).arg(1 + further.len()).arg(self.key);
        for name in further {
            command.arg(format!("{}{name}", self.key));
        }
        command.arg(self.arguments);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_finds_a_script_by_its_hash() {
        // What SCRIPT LOAD answers.
        assert_eq!(Script::new("return 1").name, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}
