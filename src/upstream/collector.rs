//! Sends batches of spans to a collector.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

use super::{Client, Failure, Fetch};
use crate::message::body::Body;

/// The exporter tries again within its own time (OTEL_EXPORTER_OTLP_TIMEOUT, ten seconds unless set).
const TIMEOUT: Duration = Duration::from_secs(5);

/// A collector's answer says little more than its status.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The client of the exporter. The exporter calls it on a thread without a runtime, so each request is a task of the
/// gateway's runtime.
#[derive(Debug)]
pub struct Collector {
    client: Client,
    runtime: Handle,
    /// The last batch did not arrive.
    is_failing: AtomicBool,
}

impl Collector {
    /// Must be called inside a runtime.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, runtime: Handle::current(), is_failing: AtomicBool::new(false) }
    }

    /// Logs the first failure in a row, and the first success after it.
    fn note(&self, server: &str, outcome: &Result<Response<Bytes>, Failure>) {
        let reason = match outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answered {}", response.status())),
            Err(failure) => Some(failure.for_operators()),
        };
        let was_failing = self.is_failing.swap(reason.is_some(), Ordering::Relaxed);
        match reason {
            Some(reason) if !was_failing => {
                tracing::warn!(server, reason, "the collector does not take traces; spans are dropped until it does");
            }
            None if was_failing => tracing::info!(server, "the collector takes traces again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        // Without user and password.
        let server = request.uri().host().unwrap_or_default().to_owned();
        let asked = server.clone();
        let exchange = self.runtime.spawn(async move {
            let fetch = Fetch { client: &client, server: &asked, timeout: TIMEOUT, max_body: LONGEST_ANSWER };
            fetch.send(request.map(Body::full), |_| true).await
        });
        // It fails when the runtime ends.
        let outcome = exchange.await?.map(|(head, body)| Response::from_parts(head, body));
        self.note(&server, &outcome);
        outcome.map_err(|failure| failure.for_operators().into())
    }
}
