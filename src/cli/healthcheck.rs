//! `healthcheck`: asks the admin listener whether the gateway is ready.

use std::{net::IpAddr, path::Path, time::Duration};

use http::{Request, Uri};
use http_body_util::BodyExt;

use super::{Failure, print};
use crate::{
    body::Body,
    config,
    listener::ListenAddress,
    upstream::{self, Egress, ExtraRoots},
};

/// A probe that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn healthcheck(config: Option<&Path>, admin: Option<String>) -> Result<(), Failure> {
    let admin = match admin {
        Some(admin) => admin,
        None => url(&config::admin_listen(config, std::env::vars_os())?)?,
    };
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

/// Where a listener of this machine is asked. One that listens on all addresses listens on loopback too.
fn url(listen: &ListenAddress) -> Result<String, Failure> {
    let ListenAddress::Tcp { host, port } = listen else {
        return Err(Failure::Usage(format!("{listen} is no TCP address; --admin names the admin listener")));
    };
    if *port == 0 {
        let message = "the system chose the port of the admin listener (admin.listen has port 0); --admin names it";
        return Err(Failure::Usage(message.to_owned()));
    }
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(address)) if address.is_unspecified() => "[::1]".to_owned(),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.clone(),
    };
    Ok(format!("http://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_where_the_admin_listener_listens() {
        for (listen, asked) in [
            ("127.0.0.1:9090", Some("http://127.0.0.1:9090")),
            ("0.0.0.0:9191", Some("http://127.0.0.1:9191")),
            ("[::]:9191", Some("http://[::1]:9191")),
            ("[::1]:9191", Some("http://[::1]:9191")),
            ("10.1.2.3:9191", Some("http://10.1.2.3:9191")),
            ("localhost:9191", Some("http://localhost:9191")),
            ("127.0.0.1:0", None),
        ] {
            let listen: ListenAddress = listen.parse().unwrap();
            assert_eq!(url(&listen).ok().as_deref(), asked, "{listen}");
        }
    }
}
