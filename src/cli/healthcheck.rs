//! `healthcheck`: asks the admin listener whether the gateway is ready.

use std::path::Path;

use super::{Failure, admin::AdminListener, print};

pub(super) async fn healthcheck(config: Option<&Path>, admin: Option<&str>) -> Result<(), Failure> {
    let (status, body) = AdminListener::find(config, admin)?.page("/readyz").await?;
    if !status.is_success() {
        return Err(Failure::Run(body));
    }
    Ok(print(&format!("{body}\n"))?)
}
