//! The accept loop, and HTTP/1.1 on each connection.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::sync::OwnedSemaphorePermit;
use tower::Service;

use super::{
    Arrival, ConnectionLimit, Listener, Stream, Timeouts,
    connection::Watch,
    failures::AcceptFailures,
    idle::IdleConnections,
    wire::{Answering, ConnectionState, Wire},
};
use crate::{
    call::{
        Arrived,
        peer::{Peer, SubjectName},
    },
    message::{body::Body, protocol::RequestState},
    os::shutdown::Shutdown,
};

/// How many fields hyper has room for without being told.
const HYPERS_FIELDS: usize = 100;

/// What is already answered gets this long to be written out at the end of a drain.
const FLUSH: Duration = Duration::from_millis(500);

/// Serves `listener` with `service` until a drain has ended, no more connections at a time than there are places.
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
    // The wire counts bytes and seconds by itself; one more field than it lets through is never met.
    http.timer(TokioTimer::new()).header_read_timeout(None);
    if timeouts.head.fields > HYPERS_FIELDS {
        http.max_headers(timeouts.head.fields);
    }
    let graceful = GracefulShutdown::new();
    let exposure = listener.exposure();
    let begin = |connections: &ConnectionLimit| {
        let (http, service, idle) = (http.clone(), service.clone(), connections.idle());
        move |stream: Stream, names: Arc<[SubjectName]>| {
            let connection_state = Arc::<ConnectionState>::default();
            let watch = stream.watch();
            let wire = Wire::new(stream, timeouts, idle, Arc::clone(&connection_state));
            let service = OfConnection { service, peer: Peer { exposure, names }, connection_state, watch };
            http.serve_connection(TokioIo::new(wire), TowerToHyperService::new(service))
        }
    };
    let waits = accept_until(&listener, &connections, shutdown.draining(), |arrival, place| {
        let (begin, watcher) = (begin(&connections), graceful.watcher());
        tokio::spawn(attend(arrival, place, connections.idle(), |stream, names| watcher.watch(begin(stream, names))));
    })
    .await;
    // Idle connections close now, the others after their answer. Late callers are accepted and told, and who waited for a
    // place until now needs none for that.
    let connections_end = graceful.shutdown();
    let late = ConnectionLimit::for_late_callers();
    let tell = |arrival, place| drop(tokio::spawn(attend(arrival, place, late.idle(), begin(&late))));
    if let Some(arrival) = waits {
        tell(arrival, None);
    }
    accept_until(&listener, &late, end_of_drain(&shutdown), tell).await;
    // A connection that never sent a request does not count as idle for hyper and would hold this up.
    let _ = tokio::time::timeout(FLUSH, connections_end).await;
}

/// Hands each request on with what its connection tells of it and of its sender.
#[derive(Debug, Clone)]
struct OfConnection<S> {
    service: S,
    peer: Peer,
    connection_state: Arc<ConnectionState>,
    watch: Watch,
}

/// Ends the connection, and with it the call that waits.
#[derive(Debug, thiserror::Error)]
#[error("the caller hung up before its answer")]
struct HungUp;

impl<S> Service<Request<Incoming>> for OfConnection<S>
where
    S: Service<Arrived, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Answering>;
    type Error = HungUp;
    type Future = Answered<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), HungUp>> {
        self.service.poll_ready(context).map_err(|never| match never {})
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let request_state = self.connection_state.begins();
        let arrived = Arrived { request, peer: self.peer.clone(), state: request_state.clone() };
        let (connection_state, watch) = (Arc::clone(&self.connection_state), self.watch.clone());
        Answered { answer: self.service.call(arrived), connection_state, request_state, watch, hung_up: None }
    }
}

pin_project_lite::pin_project! {
    /// An answer, whose end its conversation is told; or the caller's hang-up, where it waits for the answer.
    struct Answered<F> {
        #[pin]
        answer: F,
        connection_state: Arc<ConnectionState>,
        request_state: RequestState,
        watch: Watch,
        // Made at the first pause: an answer that is there at once is not kept from a caller that sends nothing more.
        hung_up: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    }
}

impl<F: Future<Output = Result<Response<Body>, Infallible>>> Future for Answered<F> {
    type Output = Result<Response<Answering>, HungUp>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Before the answer: a call that was given its slot in this moment does not go out for nobody.
        if this.hung_up.as_mut().is_some_and(|hung_up| hung_up.as_mut().poll(context).is_ready()) {
            return Poll::Ready(Err(HungUp));
        }
        if let Poll::Ready(Ok(answer)) = this.answer.poll(context) {
            return Poll::Ready(Ok(answer.map(|body| Answering::new(body, Arc::clone(this.connection_state)))));
        }
        if this.hung_up.is_none() && this.request_state.is_waiting() {
            let hung_up = this.hung_up.insert(Box::pin(this.watch.clone().hung_up()));
            return hung_up.as_mut().poll(context).map(|()| Err(HungUp));
        }
        Poll::Pending
    }
}

async fn end_of_drain(shutdown: &Shutdown) {
    tokio::select! {
        () = shutdown.drained() => {}
        () = shutdown.cut_off() => {}
    }
}

/// Serves whoever comes until the end; gives back who waits for a place then.
async fn accept_until(
    listener: &Listener,
    connections: &ConnectionLimit,
    end: impl Future<Output = ()>,
    serve: impl Fn(Arrival, Option<OwnedSemaphorePermit>),
) -> Option<Arrival> {
    tokio::pin!(end);
    let mut failures = AcceptFailures::default();
    loop {
        let accepted = tokio::select! {
            () = &mut end => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // The place is taken for who has come: a listener that waits holds none.
            Ok(arrival) => {
                failures.succeeded();
                tokio::select! {
                    () = &mut end => return Some(arrival),
                    place = connections.take() => serve(arrival, place),
                }
            }
            Err(error) => tokio::time::sleep(failures.failed(&error)).await,
        }
    }
}

/// Follows one connection from its handshake to its end. Callers break off all the time; that is worth a line only to
/// whoever looks for it.
async fn attend<C>(
    arrival: Arrival,
    place: Option<OwnedSemaphorePermit>,
    idle: IdleConnections,
    begin: impl FnOnce(Stream, Arc<[SubjectName]>) -> C,
) where
    C: Future<Output = Result<(), hyper::Error>>,
{
    match arrival.greet(&idle).await {
        Ok((stream, names)) => {
            if let Err(error) = begin(stream, names).await {
                tracing::debug!(%error, "a connection ended early");
            }
        }
        Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
    }
    drop(place);
}
