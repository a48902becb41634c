//! The logins behind refresh tokens.

use std::{fmt, sync::Arc};

use super::random::Random;

/// The refresh token of the login `main`.
pub const REFRESH_TOKEN: &str = "1000.sandbox-refresh-token";

/// Every refresh token with this prefix is valid and belongs to its own login.
const PREFIX: &str = "1000.sandbox.";

/// The number of last characters of a refresh token that name its login.
const NAME_LENGTH: usize = 8;

/// A Zoho user, identified by their refresh token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Login(Arc<str>);

impl Login {
    /// A refresh token that was never granted before.
    pub(super) fn new_refresh_token(random: &mut Random) -> String {
        format!("{PREFIX}{}", random.hex())
    }

    /// The login that granted `refresh_token`; `None` if no login did.
    pub(super) fn of(refresh_token: &str) -> Option<Self> {
        if refresh_token == REFRESH_TOKEN {
            return Some(Self("main".into()));
        }
        refresh_token.strip_prefix(PREFIX)?;
        let skipped = refresh_token.chars().count().saturating_sub(NAME_LENGTH);
        Some(Self(refresh_token.chars().skip(skipped).collect::<String>().into()))
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(refresh_token: &str) -> Option<String> {
        Login::of(refresh_token).map(|login| login.to_string())
    }

    #[test]
    fn a_login_is_named_after_the_end_of_its_refresh_token() {
        assert_eq!(name(REFRESH_TOKEN).as_deref(), Some("main"));
        assert_eq!(name("1000.sandbox.second-login").as_deref(), Some("nd-login"));
        assert_eq!(name("1000.elsewhere.token"), None);
        assert_eq!(name(""), None);
    }
}
