//! The listener: connections in, one visit per request, everything ended with the sandbox.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::settings::Settings;
use super::visit::visit;
use super::world::Sandbox;

/// The pause after a failed accept: out of file descriptors, trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves a simulated Zoho on `listener` until `shutdown` resolves.
///
/// At the end open connections are dropped, not drained: whoever needs the answers of a last call lets the gateway
/// drain first.
pub async fn serve(listener: TcpListener, settings: Settings, shutdown: impl Future<Output = ()>) {
    let sandbox = Arc::new(Sandbox::new(settings));
    // Visits outlive their connections (see `converse`), so they need an end of their own: the guard's drop.
    let end = CancellationToken::new();
    let _ended_on_return = end.clone().drop_guard();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, sandbox.clone(), end.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the sandbox could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // Finished connections are taken out, or the set would only ever grow.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, from its first request to its last.
///
/// hyper drops a request's future when its caller hangs up. A call that has left the caller arrives at Zoho all the
/// same, so each visit runs in a task of its own and is counted whether or not anyone waits for the answer.
async fn converse(stream: TcpStream, sandbox: Arc<Sandbox>, end: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the sandbox could not set TCP_NODELAY");
    }
    let service = service_fn(move |request| {
        let visit = end.clone().run_until_cancelled_owned(visit(sandbox.clone(), request));
        let visit = tokio::spawn(visit);
        async move { visit.await.ok().flatten().ok_or_else(|| io::Error::other("the sandbox has ended")) }
    });
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the sandbox ended early");
    }
}
