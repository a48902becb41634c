//! Reads the credentials' files again while the gateway runs.

use std::{collections::HashMap, sync::Arc};

use super::Source;
use crate::{
    os::shutdown::Shutdown,
    secret::{Secret, file_watch},
    zoho::account::AccountName,
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
