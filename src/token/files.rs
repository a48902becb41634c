//! Credentials in files may change while the gateway runs.

use std::{collections::HashMap, sync::Arc};

use super::Source;
use crate::{account::AccountName, reread, shutdown::Shutdown};

/// Follows the files of all accounts until the drain begins.
pub async fn follow_files(sources: Arc<HashMap<AccountName, Arc<Source>>>, shutdown: Shutdown) {
    reread::until_draining(shutdown, move || sources.values().for_each(Source::reread)).await;
}
