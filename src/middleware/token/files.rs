//! Reads the credentials' files again while the gateway runs.

use std::{collections::HashMap, sync::Arc};

use super::Source;
use crate::{
    os::shutdown::Shutdown,
    secret::{
        Secret,
        file_watch::{self, Reread},
    },
    zoho::account::{Account, AccountName},
};

/// Follows the files of all accounts until the drain begins.
pub async fn follow_files(sources: Arc<HashMap<AccountName, Arc<Source>>>, shutdown: Shutdown) {
    let look = move || {
        for (name, source) in sources.iter() {
            source.reread(|token| owner(&sources, name, token));
        }
    };
    file_watch::until_draining(shutdown, look).await;
}

/// The other account that has this refresh token. Reads the other accounts' files too, because files may change together:
/// two accounts that swap their tokens never share one.
fn owner(sources: &HashMap<AccountName, Arc<Source>>, name: &AccountName, token: &Secret) -> Option<String> {
    let mut others = sources.iter().filter(|(other, _)| *other != name);
    let has_token = |source: &Source| source.account().refresh_token.newest().expose() == token.expose();
    others.find(|(_, source)| has_token(source)).map(|(other, _)| other.to_string())
}

impl Source {
    /// Reads the credentials' files again and tries changed credentials at once. The present token is used until the new
    /// credentials have brought one. `owner` returns the other account that has a refresh token.
    pub(super) fn reread(self: &Arc<Self>, owner: impl Fn(&Secret) -> Option<String>) {
        let Account { client_secret, refresh_token, .. } = self.account();
        let mut changed = false;
        for (key, credential, outcome) in [
            ("client_secret", client_secret, client_secret.reread(|_| None)),
            ("refresh_token", refresh_token, refresh_token.reread(owner)),
        ] {
            match outcome {
                Reread::Quiet => {}
                Reread::Replaced => changed = true,
                Reread::Unusable(error) => {
                    let file = credential.file().map(|path| path.display().to_string());
                    tracing::warn!(account = %self.account().name, key, file, %error, "a credential's file cannot be used; the previous credential stays in use until it is fixed");
                }
            }
        }
        if changed {
            tracing::info!(account = %self.account().name, "the credentials have changed");
            self.state.lock().credentials_changed(&self.account().name, self.ledger.limits());
            self.request();
        }
    }
}
