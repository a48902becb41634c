//! The accept loop, and HTTP/1.1 on each connection.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::Response;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::sync::OwnedSemaphorePermit;
use tower::{Service, ServiceExt};

use super::{
    Accepted, ConnectionLimit, Listener, Stream, Timeouts,
    connection::Watch,
    failures::AcceptFailures,
    idle::IdleConnections,
    wire::{ConnectionState, StrictHttp1, TrackedBody},
};
use crate::{
    call::{
        Arrived,
        peer::{ClientAddress, Peer, SubjectName},
    },
    message::{body::Body, protocol::RequestState},
    os::shutdown::Shutdown,
    telemetry,
};

/// How many fields hyper accepts by default.
const HYPER_FIELDS: usize = 100;

/// How long the last answers of a drain may take to be written.
const FLUSH: Duration = Duration::from_millis(500);

/// Serves `listener` with `service` until a drain has ended, within a limit of connections. If another process has taken
/// over the socket, it accepts nothing during the drain.
pub async fn serve<S>(
    listener: Listener,
    service: S,
    connections: ConnectionLimit,
    timeouts: Timeouts,
    shutdown: Shutdown,
) where
    S: Service<Arrived, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut http = http1::Builder::new();
    // `StrictHttp1` limits sizes and times itself, so hyper never reaches its own limits.
    http.timer(TokioTimer::new()).header_read_timeout(None);
    if timeouts.head.fields > HYPER_FIELDS {
        http.max_headers(timeouts.head.fields);
    }
    let graceful = GracefulShutdown::new();
    let exposure = listener.exposure();
    let http_of = |connections: &ConnectionLimit, watch: Watch, address: ClientAddress| {
        let (http, service, idle) = (http.clone(), service.clone(), connections.idle());
        move |stream: Stream, names: Arc<[SubjectName]>| {
            let connection_state = Arc::<ConnectionState>::default();
            let is_tls = matches!(stream, Stream::Right(_));
            let stream = StrictHttp1::new(stream, timeouts, idle, Arc::clone(&connection_state));
            let peer = Peer { exposure, address, is_tls, names };
            let service = service_fn(move |request| {
                let (connection_state, watch) = (Arc::clone(&connection_state), watch.clone());
                let state = connection_state.begin_request();
                let arrived = Arrived { request, peer: peer.clone(), state: state.clone() };
                // Boxed, so that an idle connection needs no memory for it.
                let answer = Box::pin(service.clone().oneshot(arrived));
                async move {
                    let answer = until_hang_up(answer, state, watch).await?;
                    Ok::<_, HungUp>(answer.map(|body| TrackedBody::new(body, connection_state)))
                }
            });
            http.serve_connection(TokioIo::new(stream), service)
        }
    };
    let waiting = accept_until(&listener, &connections, shutdown.draining(), |accepted, permit| {
        let http = http_of(&connections, accepted.watch(), accepted.address);
        let watcher = graceful.watcher();
        let connection =
            serve_connection(accepted, permit, connections.idle(), |stream, names| watcher.watch(http(stream, names)));
        tokio::spawn(connection);
    })
    .await;
    // Idle connections close now, the others after their answer. New connections are still accepted and rejected with
    // "shutting down", and so is the connection that has waited for the limit until now.
    let connections_end = graceful.shutdown();
    let late = ConnectionLimit::for_late_callers();
    let serve_late = |accepted: Accepted, permit| {
        let http = http_of(&late, accepted.watch(), accepted.address);
        tokio::spawn(serve_connection(accepted, permit, late.idle(), http));
    };
    if let Some(accepted) = waiting {
        serve_late(accepted, None);
    }
    let drain_end = async {
        tokio::select! {
            () = shutdown.drained() => {}
            () = shutdown.cut_off() => {}
        }
    };
    if shutdown.is_handed_over() {
        listener.leave();
        drain_end.await;
    } else {
        accept_until(&listener, &late, drain_end, serve_late).await;
    }
    // hyper does not count a connection without any request as idle, so it would delay the end.
    let _ = tokio::time::timeout(FLUSH, connections_end).await;
}

/// Ends the connection, and with it the waiting call.
#[derive(Debug, thiserror::Error)]
#[error("the caller hung up before its answer")]
struct HungUp;

/// Waits for an answer. While the request waits to be sent, the caller's hang-up ends it.
async fn until_hang_up<T>(
    mut answer: Pin<Box<impl Future<Output = Result<T, Infallible>>>>,
    state: RequestState,
    watch: Watch,
) -> Result<T, HungUp> {
    let (mut hung_up, mut watching) = (pin!(watch.hung_up()), false);
    poll_fn(|context| {
        // Checked before the answer, so a call that gets its slot at this moment is not sent for an absent caller.
        if watching && hung_up.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(HungUp));
        }
        if let Poll::Ready(Ok(answer)) = answer.as_mut().poll(context) {
            return Poll::Ready(Ok(answer));
        }
        // Not before the first pause: an immediate answer also reaches a caller that has closed its sending half.
        if !watching && state.is_waiting() {
            watching = true;
            return hung_up.as_mut().poll(context).map(|()| Err(HungUp));
        }
        Poll::Pending
    })
    .await
}

/// Serves each accepted connection until `end`. Gives the connection that still waits for the limit then.
async fn accept_until(
    listener: &Listener,
    connections: &ConnectionLimit,
    end: impl Future<Output = ()>,
    serve: impl Fn(Accepted, Option<OwnedSemaphorePermit>),
) -> Option<Accepted> {
    tokio::pin!(end);
    let mut failures = AcceptFailures::default();
    loop {
        let accepted = tokio::select! {
            () = &mut end => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // Only an accepted connection takes a permit: a listener that waits for one holds none.
            Ok(accepted) => {
                failures.succeeded();
                tokio::select! {
                    () = &mut end => return Some(accepted),
                    permit = connections.acquire() => serve(accepted, permit),
                }
            }
            Err(error) => tokio::time::sleep(failures.failed(&error)).await,
        }
    }
}

/// Serves one connection from its handshake to its end. Callers and probes often break connections off, so the log shows
/// that only at level DEBUG.
async fn serve_connection<C>(
    accepted: Accepted,
    permit: Option<OwnedSemaphorePermit>,
    idle: IdleConnections,
    http: impl FnOnce(Stream, Arc<[SubjectName]>) -> C,
) where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let client = accepted.address;
    match accepted.handshake(&idle).await {
        Ok((stream, names)) => {
            if let Err(error) = http(stream, names).await {
                tracing::debug!(%error, "a connection ended early");
            }
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            if let Some(left_out) = telemetry::line_of_unknown_client() {
                let left_out = (left_out > 0).then_some(left_out);
                tracing::info!(%client, %error, left_out, "a TLS handshake failed");
            }
        }
        Err(error) => tracing::debug!(%client, %error, "a connection ended in its TLS handshake"),
    }
    drop(permit);
}
