//! The admin listener of a running gateway: where it is, and its pages.

use std::{net::IpAddr, path::Path, time::Duration};

use http::{HeaderValue, Method, Request, StatusCode, Uri, header};

use super::{Failure, RunningGateway, config_file};
use crate::{
    config::{self, AdminAddress},
    listener::ListenAddress,
    message::body::Body,
    secret::{Secret, credential::Credential},
    upstream::{self, Client, Egress, ExtraRoots, Fetch},
};

/// A gateway that takes longer does not work.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The longest page: `/status` of a hundred accounts with all routes.
const LONGEST_PAGE: usize = 128 * 1024 * 1024;

/// The variable that holds the operators' key.
const KEY: &str = "ZOHO_GATEWAY_ADMIN_KEY";

/// The admin listener of a running gateway.
pub(super) struct AdminListener {
    url: String,
    client: Client,
    /// The value of `Authorization`.
    authorization: Option<HeaderValue>,
}

impl AdminListener {
    /// The given one, otherwise the one that the environment or the configuration names, otherwise the usual one.
    pub(super) fn find(gateway: &RunningGateway) -> Result<Self, Failure> {
        let RunningGateway { config, admin, admin_key_file, admin_ca_file } = gateway;
        let url = match admin {
            Some(admin) => given(admin)?,
            None => {
                let config = config.clone().or_else(config_file::usual);
                url(&config::admin_address(config.as_deref(), std::env::vars_os())?)?
            }
        };
        let roots = match admin_ca_file {
            Some(file) => ExtraRoots::in_file(file)
                .map_err(|error| Failure::Usage(format!("--admin-ca-file: the file {} {error}", file.display())))?,
            None => ExtraRoots::default(),
        };
        let authorization = key(admin_key_file.as_deref())?.map(|key| authorization(&key)).transpose()?;
        let client = upstream::client(upstream::tls(&roots), &Egress::direct(), TIMEOUT);
        Ok(Self { url, client, authorization })
    }

    /// Asks for a page.
    pub(super) async fn page(&self, path: &str) -> Result<(StatusCode, String), Failure> {
        self.ask(Method::GET, path).await
    }

    /// Sends a request without a body.
    pub(super) async fn ask(&self, method: Method, path: &str) -> Result<(StatusCode, String), Failure> {
        let uri: Uri = format!("{}{path}", self.url.trim_end_matches('/'))
            .parse()
            .map_err(|error| Failure::Run(format!("{}: {error}", self.url)))?;
        let mut request = Request::new(Body::default());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request.headers_mut().extend(self.authorization.clone().map(|value| (header::AUTHORIZATION, value)));
        let fetch = Fetch { client: &self.client, server: &self.url, timeout: TIMEOUT, max_body: LONGEST_PAGE };
        let answer = fetch.send(request, |_| true).await;
        let (head, body) = answer.map_err(|failure| Failure::Run(failure.for_operators()))?;
        Ok((head.status, String::from_utf8_lossy(&body).trim_end().to_owned()))
    }
}

/// The given URL; its default scheme is `http://`. Without a scheme it needs a port, because an address without both is
/// hardly the admin listener's.
fn given(text: &str) -> Result<String, Failure> {
    let wrong = || {
        let message = "--admin: expected the URL of the admin listener, such as http://127.0.0.1:9090";
        Failure::Usage(message.to_owned())
    };
    let complete = text.contains("://");
    let written = if complete { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = written.parse().map_err(|_| wrong())?;
    let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or_else(wrong)?;
    // http::Uri accepts any number as a port.
    let wrong_port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => !complete,
        Some(port) => port.strip_prefix(':').is_none_or(|port| !port.parse::<u16>().is_ok_and(|port| port != 0)),
        None => true,
    };
    let scheme = uri.scheme_str().is_some_and(|scheme| matches!(scheme, "http" | "https"));
    if wrong_port || !scheme || uri.query().is_some() { Err(wrong()) } else { Ok(written) }
}

/// The operators' key of the file or of the environment.
fn key(file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    let Some(file) = file else {
        return Ok(std::env::var(KEY).ok().filter(|key| !key.is_empty()).map(Secret::new));
    };
    let credential = Credential::in_file(file.to_owned())
        .map_err(|error| Failure::Usage(format!("--admin-key-file: the file {} {error}", file.display())))?;
    Ok(Some(credential.current()))
}

fn authorization(key: &Secret) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose().trim()))
        .map_err(|_| Failure::Usage("the operators' key holds a character that no key has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The URL of a listener on this machine. A listener on all addresses is reached on loopback.
fn url(AdminAddress { listen, tls }: &AdminAddress) -> Result<String, Failure> {
    let ListenAddress::Tcp { host, port } = listen else {
        return Err(Failure::Usage(format!("{listen} is not a TCP address; set the admin listener with --admin")));
    };
    if *port == 0 {
        let message = "the system chose the port of the admin listener (admin.listen has port 0); set it with --admin";
        return Err(Failure::Usage(message.to_owned()));
    }
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(address)) if address.is_unspecified() => "[::1]".to_owned(),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.clone(),
    };
    let scheme = if *tls { "https" } else { "http" };
    Ok(format!("{scheme}://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_url_with_and_without_its_scheme() {
        for (text, asked) in [
            ("http://127.0.0.1:9090", "http://127.0.0.1:9090"),
            ("https://gateway.internal", "https://gateway.internal"),
            ("HTTP://localhost:9090/", "HTTP://localhost:9090/"),
            ("127.0.0.1:9090", "http://127.0.0.1:9090"),
            ("localhost:9090/", "http://localhost:9090/"),
            ("[::1]:9090", "http://[::1]:9090"),
        ] {
            assert_eq!(given(text).ok().as_deref(), Some(asked), "{text}");
        }
        for text in [
            "",
            " ",
            "foo",
            "9090",
            ":9090",
            "http://",
            "http://:9090",
            "ftp://127.0.0.1:21",
            "127.0.0.1:99999",
            "127.0.0.1:",
            "127.0.0.1:http",
            "user@127.0.0.1:9090",
            "http://127.0.0.1:9090?x",
            "a b:1",
            "/readyz",
        ] {
            assert!(
                matches!(given(text), Err(Failure::Usage(words)) if words.contains("http://127.0.0.1:9090")),
                "{text}"
            );
        }
    }

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
            let address = |tls| AdminAddress { listen: listen.parse().unwrap(), tls };
            assert_eq!(url(&address(false)).ok().as_deref(), asked, "{listen}");
            let asked = asked.map(|asked| asked.replace("http:", "https:"));
            assert_eq!(url(&address(true)).ok(), asked, "{listen}");
        }
    }
}
