//! `healthcheck`: asks the admin listener whether the gateway is ready.

use std::time::Duration;

use http::{Request, Uri};
use http_body_util::BodyExt;

use super::{Failure, print};
use crate::{
    body::Body,
    upstream::{self, Egress, ExtraRoots},
};

/// A probe that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn healthcheck(admin: &str) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Run(format!("{admin}: {error}"));
    let uri: Uri = format!("{}/readyz", admin.trim_end_matches('/')).parse().map_err(|error| failed(&error))?;
    let mut request = Request::new(Body::default());
    *request.uri_mut() = uri;
    let tls = upstream::tls(&ExtraRoots::default());
    let answer = async {
        let response = upstream::client(tls, &Egress::direct(), PATIENCE)
            .request(request)
            .await
            .map_err(|error| failed(&error))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
        Ok::<_, Failure>((status, String::from_utf8_lossy(&body).trim_end().to_owned()))
    };
    let (status, body) = tokio::time::timeout(PATIENCE, answer).await.map_err(|_| failed(&"no answer in time"))??;
    if !status.is_success() {
        return Err(Failure::Run(body));
    }
    Ok(print(&format!("{body}\n"))?)
}
