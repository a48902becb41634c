//! The address that a browser is to open (RFC 6749 section 4.1.1, as Zoho's pages have it).

use oauth2::url::form_urlencoded::Serializer;

use super::State;
use crate::zoho::account::Account;

/// Zoho wants redirect addresses registered, so the port has to be known beforehand. It means nothing else.
pub const REDIRECT_PORT: u16 = 9004;

/// The path of the redirect.
pub const REDIRECT_PATH: &str = "/callback";

/// Where Zoho sends the browser back to.
#[must_use]
pub fn redirect_uri(port: u16) -> String {
    format!("http://127.0.0.1:{port}{REDIRECT_PATH}")
}

/// The authorisation page of the account's data centre, asked for exactly these scopes.
#[must_use]
pub fn url(account: &Account, scopes: &[&str], redirect_uri: &str, state: &State) -> String {
    let mut query = Serializer::new(String::new());
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &account.client_id)
        // Zoho parts them by commas, where RFC 6749 has spaces.
        .append_pair("scope", &scopes.join(","))
        .append_pair("redirect_uri", redirect_uri)
        // A refresh token comes only with the first, and for a second time only with the second.
        .append_pair("access_type", "offline")
        .append_pair("prompt", "consent")
        .append_pair("state", state.expose());
    format!("{}/oauth/v2/auth?{}", account.endpoints.accounts, query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::login::exchange::tests::account;

    #[test]
    fn asks_for_everything_that_brings_a_refresh_token() {
        let state = State::random().unwrap();
        let url = url(&account(), &["A.b.ALL", "C.d.READ"], &redirect_uri(9004), &state);
        let expected = format!(
            "https://accounts.zoho.com/oauth/v2/auth?response_type=code&client_id=1000.ID&scope=A.b.ALL%2CC.d.READ\
             &redirect_uri=http%3A%2F%2F127.0.0.1%3A9004%2Fcallback&access_type=offline&prompt=consent&state={}",
            state.expose()
        );
        assert_eq!(url, expected);
    }
}
