//! A Lua script and the name by which a server remembers it.

use aws_lc_rs::digest;

use crate::secret::hex;

/// A Lua script. It must not change anything before its last command, because a server undoes nothing.
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) code: String,
    /// SHA-1 in hexadecimal digits: Redis' name for the script.
    pub(super) name: String,
}

impl Script {
    /// Takes over the code.
    #[must_use]
    pub fn new(code: &str) -> Self {
        let name = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, code.as_bytes());
        Self { code: code.to_owned(), name: hex::lower(name.as_ref()) }
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
