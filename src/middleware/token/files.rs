//! Credentials in files may change while the gateway runs.

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

/// Which other account has this refresh token. Files are changed together, so theirs are read too: two that are swapped
/// are not one login at any time.
fn owner(sources: &HashMap<AccountName, Arc<Source>>, name: &AccountName, token: &Secret) -> Option<String> {
    let mut others = sources.iter().filter(|(other, _)| *other != name);
    let has_it = |source: &Source| source.account().refresh_token.newest().expose() == token.expose();
    others.find(|(_, source)| has_it(source)).map(|(other, _)| other.to_string())
}
