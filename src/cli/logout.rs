//! `logout`: revokes an account's refresh token.

use std::path::Path;

use super::{Failure, account, load_for_login, tell};
use crate::{
    cli::login::{revoke::revoke, token_file::TokenFile},
    upstream,
};

pub(super) async fn logout(path: &Path, name: &str) -> Result<(), Failure> {
    let config = load_for_login(path)?;
    let account = account(&config.accounts, name)?;
    let token = account.refresh_token.current();
    if token.expose().is_empty() {
        return Err(Failure::Usage(format!("account {name}: there is no refresh token to revoke")));
    }
    let client = upstream::client(
        upstream::tls(&config.upstream.extra_roots),
        &config.upstream.egress,
        config.upstream.connect_timeout,
    );
    let revoked = revoke(&client, config.upstream.timeout, account, &token).await;
    revoked.map_err(|error| Failure::Run(format!("account {name}: {error}")))?;
    let Some(file) = account.refresh_token.file() else {
        return Ok(tell(&format!(
            "account {name}: the refresh token is revoked; remove it from the source that refresh_token of [accounts.{name}] names\n"
        ))?);
    };
    let removed = TokenFile::at(file).and_then(|file| file.remove());
    removed.map_err(|error| {
        let file = file.display();
        Failure::Run(format!("account {name}: the refresh token is revoked, but {file} could not be removed: {error}"))
    })?;
    Ok(tell(&format!("account {name}: the refresh token is revoked, and {} is removed\n", file.display()))?)
}
