//! One small request and its whole answer, bounded in time and length.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, response::Parts};
use http_body_util::{BodyExt, Limited};

use super::{Client, Failure};
use crate::message::body::Body;

/// How to fetch an answer.
#[derive(Debug)]
pub struct Fetch<'a> {
    /// Sends the request.
    pub client: &'a Client,
    /// Names the server in failures.
    pub server: &'a str,
    /// Bounds the whole exchange, from the connection to the end of the body.
    pub timeout: Duration,
    /// Bounds the body, in bytes.
    pub max_body: usize,
}

impl Fetch<'_> {
    /// Sends the request and reads the answer. `wants_body` sees the head as soon as it is there; if it returns false,
    /// the body is not read and returned as empty.
    ///
    /// # Errors
    /// [`Failure`], also when the body is too long.
    pub async fn send(
        &self,
        request: Request<Body>,
        wants_body: impl FnOnce(&Parts) -> bool,
    ) -> Result<(Parts, Bytes), Failure> {
        let exchange = async {
            let response = self.client.request(request).await;
            let response = response.map_err(|error| Failure::of(&error, self.server, u64::MAX))?;
            let (head, body) = response.into_parts();
            if !wants_body(&head) {
                return Ok((head, Bytes::new()));
            }
            let body = Limited::new(body, self.max_body).collect().await.map_err(|error| {
                let log = format!("reading the answer: {error}");
                Failure::invalid(self.server, "http_response_incomplete", log)
            })?;
            Ok((head, body.to_bytes()))
        };
        let timed_out = |_| Err(Failure::timeout(self.server));
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(timed_out)
    }
}
