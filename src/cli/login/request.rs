//! The address of the redirect that ends a login.

/// Redirect addresses must be registered at Zoho, so the port is fixed. The number has no other meaning.
pub const REDIRECT_PORT: u16 = 9004;

/// The path of the redirect.
pub const REDIRECT_PATH: &str = "/callback";

/// The address to which Zoho sends the browser back.
#[must_use]
pub fn redirect_uri(port: u16) -> String {
    format!("http://127.0.0.1:{port}{REDIRECT_PATH}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::login::{State, exchange::tests::account},
        zoho::accounts_server::authorization_url,
    };

    #[test]
    fn asks_for_everything_that_brings_a_refresh_token() {
        let state = State::random().unwrap();
        let url = authorization_url(&account(), &["A.b.ALL", "C.d.READ"], &redirect_uri(9004), state.expose());
        let expected = format!(
            "https://accounts.zoho.com/oauth/v2/auth?response_type=code&client_id=1000.ID&scope=A.b.ALL%2CC.d.READ\
             &redirect_uri=http%3A%2F%2F127.0.0.1%3A9004%2Fcallback&access_type=offline&prompt=consent&state={}",
            state.expose()
        );
        assert_eq!(url, expected);
    }
}
