//! One call's visit to the cache room.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Method, Response, header};
use moka::future::Cache as Store;
use parking_lot::Mutex;
use tower::{Layer, Service};

use super::{
    directives::{self, Directives},
    epochs::Epochs,
    flights::Flights,
    kept::Kept,
    key::Key,
};
use crate::{
    body::Body,
    boxed::BoxFuture,
    call::{Call, Payload, Visit},
    refusal::{Cause, Refusal},
};

/// How much all kept answers together may hold.
const CAPACITY: u64 = 32 * 1024 * 1024;

/// Hangs the room.
#[derive(Debug, Clone)]
pub struct CacheLayer(Arc<Room>);

/// The room.
#[derive(Debug, Clone)]
pub struct Cache<S> {
    room: Arc<Room>,
    inner: S,
}

#[derive(Debug)]
struct Room {
    store: Store<Key, Arc<Kept>>,
    flights: Flights<Key, Option<Arc<Kept>>>,
    epochs: Epochs,
}

impl Default for CacheLayer {
    fn default() -> Self {
        let weigh = |key: &Key, kept: &Arc<Kept>| u32::try_from(key.size() + kept.size()).unwrap_or(u32::MAX);
        let store = Store::builder().max_capacity(CAPACITY).weigher(weigh).build();
        Self(Arc::new(Room { store, flights: Flights::new(), epochs: Epochs::new() }))
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, inner: S) -> Cache<S> {
        Cache { room: Arc::clone(&self.0), inner }
    }
}

impl<S> Service<Call> for Cache<S>
where
    S: Service<Call, Response = Response<Body>, Error = Refusal, Future = BoxFuture<Response<Body>, Refusal>>,
    S: Clone + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = BoxFuture<Response<Body>, Refusal>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        if !call.method.is_safe() {
            let write = self.room.epochs.write(&call);
            let executed = self.inner.call(call);
            return Box::pin(async move {
                let _write = write;
                executed.await
            });
        }
        // A part is not the whole, and a body may change what is asked.
        let whole = !call.headers.contains_key(header::RANGE)
            && matches!(&call.payload, Payload::Held { bytes, .. } if bytes.is_empty());
        if call.method != Method::GET || call.subject.route.cache.is_zero() || !whole {
            return self.inner.call(call);
        }
        let room = Arc::clone(&self.room);
        Box::pin(room.read(call, self.inner.clone()))
    }
}

impl Room {
    async fn read<S>(self: Arc<Self>, call: Call, mut inner: S) -> Result<Response<Body>, Refusal>
    where
        S: Service<Call, Response = Response<Body>, Error = Refusal> + Clone + Send + 'static,
        S::Future: Send,
    {
        let directives = Directives::of(&call.headers);
        if directives.no_store {
            return inner.call(call).await.map(|response| marked(response, "fwd=request"));
        }
        let (key, keeps) = (Key::of(&call), call.subject.route.cache);
        let found = self.store.get(&key).await;
        let current = self.epochs.now(&call);
        let usable = |kept: &Arc<Kept>| kept.epoch == current && directives.accept(kept.age(), keeps);
        if let Some(kept) = found.as_ref().filter(|kept| usable(kept)) {
            let left = keeps.saturating_sub(kept.age()).as_secs();
            return Ok(served(kept, &call, &format!("hit; ttl={left}")));
        }
        if directives.only_if_cached {
            return Err(Refusal::from(Cause::NotCached).of(&call.subject));
        }
        let why = match &found {
            None => "fwd=uri-miss",
            Some(kept) if kept.epoch == current && kept.age() < keeps => "fwd=request",
            Some(_) => "fwd=stale",
        };
        // The one who starts the flight gets whatever it brings; the others only an answer that is kept.
        let own = Arc::new(Mutex::new(None));
        let Some(mut again) = call.again() else { return inner.call(call).await };
        // The caller's validators are ours to answer; Zoho is asked for the whole.
        again.headers.remove(header::IF_NONE_MATCH);
        again.headers.remove(header::IF_MODIFIED_SINCE);
        // Compressed it could not be told from a failure, nor be served to everybody.
        again.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let flight = {
            let (room, own, key, inner, epoch) =
                (Arc::clone(&self), Arc::clone(&own), key.clone(), inner.clone(), current);
            move || async move { room.fetch(key, again, inner, epoch, &own).await }
        };
        let brought = self.flights.join(key, flight).await.flatten();
        if let Some(outcome) = own.lock().take() {
            return outcome.map(|response| marked(response, why));
        }
        match brought {
            // It may have begun before a write that this read has to see.
            Some(kept) if kept.epoch == current => {
                let mut response = served(&kept, &call, &format!("{why}; stored"));
                kept.tell_limits(response.headers_mut());
                Ok(response)
            }
            _ => inner.call(call).await.map(|response| marked(response, why)),
        }
    }

    async fn fetch<S>(
        &self,
        key: Key,
        call: Call,
        mut inner: S,
        epoch: u64,
        own: &Mutex<Option<Result<Response<Body>, Refusal>>>,
    ) -> Option<Arc<Kept>>
    where
        S: Service<Call, Response = Response<Body>, Error = Refusal>,
    {
        let outcome = match inner.call(call).await {
            Ok(response) => Kept::keep(response, epoch).await.map_err(Ok),
            Err(refusal) => Err(Err(refusal)),
        };
        match outcome {
            Ok(kept) => {
                self.store.insert(key, Arc::clone(&kept)).await;
                Some(kept)
            }
            Err(outcome) => {
                *own.lock() = Some(outcome);
                None
            }
        }
    }
}

fn served(kept: &Kept, call: &Call, how: &str) -> Response<Body> {
    let unchanged = directives::none_match_names(&call.headers, kept.etag());
    let mut response = marked(kept.serve(unchanged), how);
    let (account, route) = call.subject.names();
    response.extensions_mut().insert(Visit { account, route, waited: None });
    response
}

/// `Cache-Status` (RFC 9211).
fn marked(mut response: Response<Body>, how: &str) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(&format!("zoho-gateway; {how}")) {
        response.headers_mut().insert("cache-status", value);
    }
    response
}
