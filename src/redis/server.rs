//! The address of a server, and the URL that states it together with user, password and database.

use std::{fmt, net::Ipv6Addr, path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;

use crate::{message::host, secret::Secret};

const DEFAULT_PORT: u16 = 6379;

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// TCP, in the clear.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// TLS; the certificate has to be for this host.
    Tls {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// All that a URL states.
#[derive(Debug, Clone)]
pub struct ServerUrl {
    /// The address.
    pub server: Server,
    /// The user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// The number of the database; 0 unless the URL has one.
    pub database: u32,
}

/// An unusable URL. The error does not repeat it, because it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoServerUrl {
    /// Some other text.
    #[error(
        "expected a URL such as \"redis://redis.example:6379/0\", \"rediss://USER:PASSWORD@redis.example\" or \
         \"unix:/run/redis/redis.sock\"; in a user's name or password, characters such as / : % are percent-encoded"
    )]
    Malformed,
    /// The part after the host is not a number.
    #[error("expected the number of a database, such as 0, after the host or after ?db=")]
    Database,
    /// A URL of Sentinels.
    #[error("Sentinel is not supported yet; expected the URL of one server, such as \"redis://redis.example:6379\"")]
    Sentinel,
    /// A URL of a cluster, or of several hosts.
    #[error("a cluster is not supported yet; expected the URL of one server, such as \"redis://redis.example:6379\"")]
    Cluster,
}

impl ServerUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`NoServerUrl`].
    pub fn parse(text: &str) -> Result<Self, NoServerUrl> {
        let (scheme, rest) = text.split_once(':').ok_or(NoServerUrl::Malformed)?;
        match scheme {
            "redis" | "rediss" => Self::of_network(rest, scheme == "rediss"),
            "unix" | "redis+unix" => Self::of_socket(rest),
            _ if scheme.ends_with("sentinel") => Err(NoServerUrl::Sentinel),
            _ if scheme.ends_with("cluster") => Err(NoServerUrl::Cluster),
            _ => Err(NoServerUrl::Malformed),
        }
    }

    /// `//[user[:password]@]host[:port][/database]`
    fn of_network(rest: &str, tls: bool) -> Result<Self, NoServerUrl> {
        let rest = rest.strip_prefix("//").ok_or(NoServerUrl::Malformed)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let (host, port) = host_and_port(address)?;
        Ok(Self {
            server: if tls { Server::Tls { host, port } } else { Server::Tcp { host, port } },
            user: decoded(user)?,
            password: decoded(password)?.map(Secret::new),
            database: if path.is_empty() { 0 } else { database(path)? },
        })
    }

    /// `PATH` or `//PATH`, then perhaps `?db=DATABASE`
    fn of_socket(rest: &str) -> Result<Self, NoServerUrl> {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, query) = rest.split_once('?').unwrap_or((rest, "db=0"));
        if !path.starts_with('/') {
            return Err(NoServerUrl::Malformed);
        }
        let number = query.strip_prefix("db=").ok_or(NoServerUrl::Malformed)?;
        Ok(Self { server: Server::Unix(path.into()), user: None, password: None, database: database(number)? })
    }
}

impl Server {
    /// Whether no other machine can read what is sent to it.
    #[must_use]
    pub fn is_private(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => host::is_loopback(host),
            Self::Tls { .. } | Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Tcp { host, port } => ("redis", host, port),
            Self::Tls { host, port } => ("rediss", host, port),
            Self::Unix(path) => return write!(f, "unix:{}", path.display()),
        };
        if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), NoServerUrl> {
    if text.contains(',') {
        return Err(NoServerUrl::Cluster);
    }
    let is_name = |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').filter(|(host, _)| host.parse::<Ipv6Addr>().is_ok()),
        None => Some(text.split_at(text.find(':').unwrap_or(text.len()))).filter(|(host, _)| is_name(host)),
    }
    .filter(|(host, _)| !host.is_empty())
    .ok_or(NoServerUrl::Malformed)?;
    let port = match rest.strip_prefix(':') {
        Some(digits) => number(digits).filter(|port| *port > 0),
        None => rest.is_empty().then_some(DEFAULT_PORT),
    };
    Ok((host.to_owned(), port.ok_or(NoServerUrl::Malformed)?))
}

fn database(text: &str) -> Result<u32, NoServerUrl> {
    number(text).ok_or(NoServerUrl::Database)
}

/// A number in digits alone; `parse` would take a plus sign.
fn number<T: FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// A part of the user's name and password; `None` if it is empty.
fn decoded(text: &str) -> Result<Option<String>, NoServerUrl> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| NoServerUrl::Malformed)?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_url_and_never_prints_its_password() {
        for (text, printed, user, password, database) in [
            ("redis://localhost", "redis://localhost:6379", None, None, 0),
            ("redis://10.0.0.1:7000/", "redis://10.0.0.1:7000", None, None, 0),
            ("rediss://redis.example/15", "rediss://redis.example:6379", None, None, 15),
            ("redis://:se%40cret@h", "redis://h:6379", None, Some("se@cret"), 0),
            ("redis://joe:a@b:c@h:1/2", "redis://h:1", Some("joe"), Some("a@b:c"), 2),
            ("redis://:p#?s@h", "redis://h:6379", None, Some("p#?s"), 0),
            ("redis://joe@[2001:db8::1]", "redis://[2001:db8::1]:6379", Some("joe"), None, 0),
            ("redis://[::1]:7000", "redis://[::1]:7000", None, None, 0),
            ("unix:/run/redis.sock", "unix:/run/redis.sock", None, None, 0),
            ("unix:///run/redis.sock", "unix:/run/redis.sock", None, None, 0),
            ("redis+unix:///run/redis.sock?db=3", "unix:/run/redis.sock", None, None, 3),
        ] {
            let url = ServerUrl::parse(text).unwrap();
            assert_eq!(url.server.to_string(), printed, "{text}");
            let read = (url.user.as_deref(), url.password.as_ref().map(Secret::expose), url.database);
            assert_eq!(read, (user, password, database), "{text}");
            assert!(!format!("{url:?}").contains("cret"), "{text}");
        }
    }

    #[test]
    fn refuses_other_urls_without_repeating_them() {
        for (text, expected) in [
            ("", NoServerUrl::Malformed),
            ("localhost:6379", NoServerUrl::Malformed),
            ("http://localhost:6379", NoServerUrl::Malformed),
            ("redis:localhost", NoServerUrl::Malformed),
            ("redis://", NoServerUrl::Malformed),
            ("redis://:6379", NoServerUrl::Malformed),
            ("redis://host:port", NoServerUrl::Malformed),
            ("redis://host:0", NoServerUrl::Malformed),
            ("redis://host:70000", NoServerUrl::Malformed),
            ("redis://host:+1", NoServerUrl::Malformed),
            ("redis://::1:6379", NoServerUrl::Malformed),
            ("redis://[host]", NoServerUrl::Malformed),
            ("redis://[::1]7000", NoServerUrl::Malformed),
            ("redis://ho st", NoServerUrl::Malformed),
            ("redis://joe:%ff@host", NoServerUrl::Malformed),
            ("redis://joe:12/34@host", NoServerUrl::Database),
            ("redis://host/0?x=1", NoServerUrl::Database),
            ("redis://host/one", NoServerUrl::Database),
            ("redis://host/-1", NoServerUrl::Database),
            ("unix:/run/redis.sock?db=", NoServerUrl::Database),
            ("unix:/run/redis.sock?database=1", NoServerUrl::Malformed),
            ("unix:redis.sock", NoServerUrl::Malformed),
            ("sentinel://h:26379/main", NoServerUrl::Sentinel),
            ("redis+sentinel://h:26379,i:26379/main", NoServerUrl::Sentinel),
            ("rediss+sentinel://h/main", NoServerUrl::Sentinel),
            ("redis+cluster://h:7000", NoServerUrl::Cluster),
            ("redis://h:7000,i:7000", NoServerUrl::Cluster),
        ] {
            assert_eq!(ServerUrl::parse(text).map(|url| url.server), Err(expected), "{text}");
        }
    }

    #[test]
    fn only_tcp_to_another_machine_is_in_the_clear() {
        for (text, private) in [
            ("redis://localhost", true),
            ("redis://127.0.0.1", true),
            ("redis://[::1]", true),
            ("unix:/run/redis.sock", true),
            ("rediss://redis.example", true),
            ("redis://redis.example", false),
        ] {
            assert_eq!(ServerUrl::parse(text).unwrap().server.is_private(), private, "{text}");
        }
    }
}
