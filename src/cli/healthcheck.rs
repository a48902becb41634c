//! `healthcheck`: asks the admin listener whether the gateway is ready.

use super::{Failure, RunningGateway, admin::AdminListener, print};

pub(super) async fn healthcheck(gateway: &RunningGateway) -> Result<(), Failure> {
    let (status, body) = AdminListener::find(gateway)?.page("/readyz").await?;
    if !status.is_success() {
        return Err(Failure::Run(body));
    }
    Ok(print(&format!("{body}\n"))?)
}
