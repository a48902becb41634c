//! Exchanges a code for a refresh token, at the accounts server of the login's data centre.

use super::Redirect;
use crate::{
    middleware::token::{Admission, Code, Grants},
    problem::{Cause, respond},
    secret::Secret,
    zoho::{account::Account, accounts_server, data_center::DataCenter, endpoint::Endpoint},
};

/// The data centre of a login.
#[derive(Debug, PartialEq, Eq)]
pub struct Home {
    /// The server that exchanges the code.
    pub server: Endpoint,
    /// The data centre, if it is not the configured one.
    pub moved: Option<DataCenter>,
}

/// The redirect names an unknown accounts server.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the redirect names {0} as the accounts server, which is not a known server of Zoho; nothing was sent there. If it is \
     Zoho's, set it as endpoints.accounts of the account"
)]
pub struct UnknownServer(String);

/// Why there is no refresh token.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// Zoho refused, or could not be reached.
    #[error("{server} did not take the code: {words}")]
    Refused {
        /// The server.
        server: Endpoint,
        /// The reason, and what to do.
        words: String,
    },
    /// Zoho granted an access token only.
    #[error(
        "{0} granted an access token but no refresh token. It gives one with access_type=offline and prompt=consent only, \
         and a user holds at most 20: remove old ones under \"Connected apps\" of the Zoho account and try again"
    )]
    NoRefreshToken(Endpoint),
}

/// Finds the accounts server of a redirect: only a data centre's own or the configured one.
///
/// # Errors
/// [`UnknownServer`], for any other server.
pub fn home(account: &Account, redirect: &Redirect) -> Result<Home, UnknownServer> {
    let configured = &account.endpoints.accounts;
    let by_location = || {
        let location = redirect.location.as_deref()?;
        DataCenter::ALL.into_iter().find(|center| center.as_str().eq_ignore_ascii_case(location))
    };
    let center = match &redirect.accounts_server {
        None => by_location(),
        Some(text) => {
            // Anybody can write this text, so a message repeats it only if it parses.
            let server: Endpoint = text.parse().map_err(|_| UnknownServer("text that is not an origin".into()))?;
            match DataCenter::ALL.into_iter().find(|center| center.endpoints().accounts == server) {
                Some(center) => Some(center),
                None if server == *configured => by_location(),
                None => return Err(UnknownServer(server.to_string())),
            }
        }
    };
    let moved = center.filter(|center| *center != account.data_center);
    let written_out = *configured != account.data_center.endpoints().accounts;
    let server = match moved {
        Some(center) if !written_out => center.endpoints().accounts,
        _ => configured.clone(),
    };
    Ok(Home { server, moved })
}

/// Exchanges a code for a refresh token. Returns the token with its scopes, if Zoho names them.
///
/// # Errors
/// [`NotAdmitted`].
pub async fn exchange(
    grants: &Grants,
    account: &Account,
    server: &Endpoint,
    code: &Code,
) -> Result<(Secret, Option<String>), NotAdmitted> {
    let Admission { refresh_token, scope } = grants
        .redeem(account, server, code)
        .await
        .map_err(|cause| NotAdmitted::Refused { server: server.clone(), words: words(&cause, code) })?;
    let refresh_token = refresh_token.ok_or_else(|| NotAdmitted::NoRefreshToken(server.clone()))?;
    Ok((refresh_token, scope))
}

fn words(cause: &Cause, code: &Code) -> String {
    match cause {
        Cause::AccountUnauthorised { reason } => accounts_server::advice(reason, code.redirect_uri.as_deref()),
        other => respond::for_operators(other),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        secret::credential::Credential,
        zoho::{account::AccountName, share::Share},
    };

    pub(in crate::cli::login) fn account() -> Account {
        Account {
            name: AccountName::new("main"),
            data_center: DataCenter::Us,
            endpoints: DataCenter::Us.endpoints(),
            client_id: "1000.ID".into(),
            client_secret: Credential::written(Secret::from("secret")).unwrap(),
            refresh_token: Credential::awaited(None),
            daily_calls: None,
            share: Share::WHOLE,
        }
    }

    fn redirect(location: &str, accounts_server: &str) -> Redirect {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Redirect { code: Secret::from("1000.a.b"), location: given(location), accounts_server: given(accounts_server) }
    }

    #[test]
    fn follows_the_redirect_to_the_data_centre() {
        for (location, server, expected, moved) in [
            ("", "", "https://accounts.zoho.com", None),
            ("us", "https://accounts.zoho.com", "https://accounts.zoho.com", None),
            ("eu", "https://accounts.zoho.eu", "https://accounts.zoho.eu", Some(DataCenter::Eu)),
            ("", "https://Accounts.zohocloud.ca/", "https://accounts.zohocloud.ca", Some(DataCenter::Ca)),
            ("jp", "", "https://accounts.zoho.jp", Some(DataCenter::Jp)),
            ("EU", "https://accounts.zoho.in", "https://accounts.zoho.in", Some(DataCenter::In)),
            ("mars", "", "https://accounts.zoho.com", None),
        ] {
            let home = home(&account(), &redirect(location, server)).unwrap();
            assert_eq!((home.server.to_string().as_str(), home.moved), (expected, moved), "{location} {server}");
        }
    }

    #[test]
    fn stays_with_an_accounts_server_that_is_written_out() {
        let mut account = account();
        account.endpoints.accounts = "http://127.0.0.1:9300".parse().unwrap();
        for (location, server, moved) in [
            ("us", "http://127.0.0.1:9300", None),
            ("eu", "http://127.0.0.1:9300", Some(DataCenter::Eu)),
            ("eu", "https://accounts.zoho.eu", Some(DataCenter::Eu)),
            ("", "", None),
        ] {
            let home = home(&account, &redirect(location, server)).unwrap();
            assert_eq!((home.server, home.moved), (account.endpoints.accounts.clone(), moved), "{location} {server}");
        }
    }

    #[test]
    fn follows_nobody_else() {
        for server in [
            "https://accounts.zoho.example",
            "https://accounts.zoho.com.evil.example",
            "http://accounts.zoho.com",
            "https://accounts.zoho.com:8443",
            "https://accounts.zoho.com@evil.example",
            "https://people.zoho.com",
            "javascript:alert(1)",
        ] {
            let told = home(&account(), &redirect("us", server)).unwrap_err().to_string();
            assert!(!told.contains("alert") && !told.contains('@'), "{told}");
        }
    }

    #[test]
    fn says_what_to_do_about_each_refusal() {
        let by = |redirect_uri: Option<&str>| Code {
            code: Secret::from("1000.a.b"),
            redirect_uri: redirect_uri.map(str::to_owned),
        };
        for (reason, code, expected) in [
            ("invalid_client", by(None), "client_id"),
            ("invalid_client_secret", by(None), "client_secret"),
            ("invalid_code", by(None), "API console make a new one"),
            ("invalid_code", by(Some("http://x")), "log in again"),
            ("invalid_redirect_uri", by(Some("http://x")), "register http://x"),
        ] {
            let told = words(&Cause::AccountUnauthorised { reason: reason.into() }, &code);
            assert!(told.contains(reason) && told.contains(expected), "{told}");
        }
    }
}
