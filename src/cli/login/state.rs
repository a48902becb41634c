//! The state that identifies this login's redirect (RFC 6749 section 10.12).

use aws_lc_rs::constant_time;

use crate::secret::{
    Secret,
    random::{self, NoRandomness},
};

/// 256 random bits that Zoho returns with the redirect.
#[derive(Debug, Clone)]
pub struct State(Secret);

impl State {
    /// A new one for each login.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn random() -> Result<Self, NoRandomness> {
        random::hex().map(Self)
    }

    /// The text, for the request's URL.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Compares in constant time.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        constant_time::verify_slices_are_equal(self.0.expose().as_bytes(), shown.as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_itself_only() {
        let state = State::random().unwrap();
        let text = state.expose().to_owned();
        assert!(state.is(&text));
        for other in ["", &text[1..], &format!("{text}0"), State::random().unwrap().expose()] {
            assert!(!state.is(other));
        }
        assert!(!format!("{state:?}").contains(&text));
    }
}
