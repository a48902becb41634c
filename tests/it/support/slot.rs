//! A gateway whose only slot is in use, so that the next call waits.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{COURSE, Call, Gateway, Reply, Setup, Upstream, get};

/// The route of a read of [`COURSE`].
const ROUTE: &str = "people.lms.get-shared-users";

/// Zoho answers the call that contains `sign` when the gate opens, and all others at once. `more` changes the setup.
pub(crate) async fn one_slot_taken(
    more: impl FnOnce(Setup) -> Setup,
    sign: impl FnOnce(Call) -> Call,
) -> (Upstream, Gateway, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let upstream = Upstream::start(move |request| match request.line.contains("startIndex=0 ") {
        true => Reply::json(200, "{}").behind(&closed),
        false => Reply::json(200, "{}"),
    })
    .await;
    let setup = Gateway::before_upstream(&upstream).route(ROUTE, "requests", 1);
    let gateway = more(setup.route(ROUTE, "window", "100ms").set("queue.max_wait", "5m")).start();
    tokio::spawn(sign(get(&format!("{COURSE}?startIndex=0"))).sending(gateway.address()));
    upstream.until_received(1).await;
    (upstream, gateway, gate)
}
