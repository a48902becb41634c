//! `[accounts.NAME]`: the Zoho logins.

use super::{
    credential::{self, REFRESH_TOKEN, RefreshTokens, Surroundings},
    reader::{Located, Section},
    shares::AccountShare,
};
use crate::zoho::{
    account::{Account, AccountName},
    data_center::DataCenter,
    endpoint::{Endpoint, EndpointError},
    product::Product,
    share::Share,
};

/// Names go into a header, into metrics and into logs.
const LONGEST_NAME: usize = 64;

/// Reads every account, in the order of the file, and each share with its position.
pub(super) fn read(root: &mut Section<'_>, around: &Surroundings<'_>) -> (Vec<Account>, Vec<AccountShare>) {
    let mut found = 0;
    let mut shares = Vec::new();
    let mut logins: Vec<Account> = Vec::new();
    root.sections("accounts", |name, section| {
        found += 1;
        let place = section.whereabouts(REFRESH_TOKEN);
        let Some(account) = account(name, section, around, &mut shares) else { return };
        if let Some(place) = place
            && around.refresh_tokens == RefreshTokens::Needed
            && let Some(twin) = logins.iter().find(|other| account.shares_its_login_with(other))
        {
            section.wrong(REFRESH_TOKEN, &place, one_login(&account, twin));
        }
        logins.push(account);
    });
    if found == 0 {
        let message = "expected at least one account: [accounts.NAME] with client_id, client_secret and refresh_token";
        root.missing("accounts", message);
    }
    (logins, shares)
}

/// The message shows neither the token nor its source: two sources may hold the same token.
fn one_login(account: &Account, twin: &Account) -> String {
    let (name, twin) = (&account.name, &twin.name);
    format!(
        "is the refresh token of accounts.{twin} too; accounts.{name} and accounts.{twin} would be one login, whose calls \
         Zoho counts together, so that its thresholds would be exceeded; log in again for one of them, or remove it"
    )
}

fn account(
    name: &str,
    section: &mut Section<'_>,
    around: &Surroundings<'_>,
    shares: &mut Vec<AccountShare>,
) -> Option<Account> {
    if !is_a_name(name) {
        section.refuse("expected an account's name of 1 to 64 letters, digits, _ and -");
    }
    let data_center: DataCenter = section.value("data_center");
    let mut endpoints = data_center.endpoints();
    section.section("endpoints", |section| {
        endpoint(section, "accounts", &mut endpoints.accounts);
        for product in Product::ALL {
            endpoint(section, product.as_str(), endpoints.product_mut(product));
        }
    });
    let daily_calls = section.given("daily_calls");
    let name = AccountName::new(name);
    let mut share = Share::WHOLE;
    if let Some(Located { value, origin }) = section.parsed("share", str::parse::<Share>) {
        share = value;
        shares.push(AccountShare { account: name.clone(), share, daily_calls, origin });
    }
    let client_id = credential::read(section, "client_id", around);
    let client_secret = credential::read(section, "client_secret", around);
    let refresh_token = credential::refresh_token(section, around);
    Some(Account {
        name,
        data_center,
        endpoints,
        // Not secret: the address bar shows it to everyone who logs in.
        client_id: client_id?.current().expose().to_owned(),
        client_secret: client_secret?,
        refresh_token: refresh_token?,
        daily_calls,
        share,
    })
}

/// Whether a text is a valid name for an account, a caller or an issuer.
pub(super) fn is_a_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits)
}

/// Replaces the data centre's endpoint by the one that is set.
fn endpoint(section: &mut Section<'_>, key: &'static str, endpoint: &mut Endpoint) {
    let parse = |text: &str| -> Result<Endpoint, EndpointError> { text.parse() };
    if let Some(found) = section.parsed(key, parse) {
        if found.value.is_in_the_clear() {
            let what =
                if key == "accounts" { "client secret and refresh token cross" } else { "the access token crosses" };
            section.doubtful(
                key,
                &found.origin,
                format!("{what} the network in the clear; write https:// instead of http://"),
            );
        }
        *endpoint = found.value;
    }
}
