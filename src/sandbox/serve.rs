//! The listener: accepts connections and handles each request in a task that ends with the sandbox.

use std::{io, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{call::handle, settings::Settings, world::Sandbox};

/// The pause after a failed accept: without file descriptors, an immediate retry would only waste processor time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves a simulated Zoho on `listener` until `shutdown` resolves.
///
/// At the end open connections are dropped, not drained: to get the answers of its last calls, a gateway must drain
/// first.
pub async fn serve(listener: TcpListener, settings: Settings, shutdown: impl Future<Output = ()>) {
    let sandbox = Arc::new(Sandbox::new(settings));
    // Calls outlive their connections (see `converse`), so this guard ends them.
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
            // Finished connections are removed, or the set would grow without limit.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection.
///
/// hyper drops a request's future when its caller disconnects. A call that was sent still arrives at Zoho, so each call
/// runs in a task of its own and counts even if no caller waits for the answer.
async fn converse(stream: TcpStream, sandbox: Arc<Sandbox>, end: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the sandbox could not set TCP_NODELAY");
    }
    let service = service_fn(move |request| {
        let handling = end.clone().run_until_cancelled_owned(handle(sandbox.clone(), request));
        let handling = tokio::spawn(handling);
        async move { handling.await.ok().flatten().ok_or_else(|| io::Error::other("the sandbox has ended")) }
    });
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the sandbox ended early");
    }
}
