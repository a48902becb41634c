//! An address to listen on.

use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    str::FromStr,
};

use crate::message::host;

/// The longest path of a Unix socket, in bytes: `sun_path` of Linux without its closing zero.
const LONGEST_SOCKET_PATH: usize = 107;

/// An address to listen on: `127.0.0.1:8080`, `[::1]:8080`, `localhost:0` or `unix:/run/x.sock`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP port.
    Tcp {
        /// An address (IPv6 without brackets), or a name to be resolved.
        host: String,
        /// The port; with 0 the system chooses one.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The host of a TCP port.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } => Some(host),
            Self::Unix(_) => None,
        }
    }

    /// Whether only processes on this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => host::is_loopback(host),
        }
    }

    /// Whether listening on both addresses must fail: the port is the same, and one address equals or includes the
    /// other. Port 0 is a new port each time.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(another)) => one == another,
            (Self::Tcp { host: one, port }, Self::Tcp { host: another, port: same }) => {
                port == same && *port != 0 && hosts_overlap(one, another)
            }
            _ => false,
        }
    }
}

fn hosts_overlap(one: &str, another: &str) -> bool {
    if one.eq_ignore_ascii_case(another) {
        return true;
    }
    let (ones, others) = (addresses(one), addresses(another));
    // A name may resolve to any address of this machine; only an unspecified address certainly includes it.
    if ones.is_empty() || others.is_empty() {
        return ones.iter().chain(&others).any(IpAddr::is_unspecified);
    }
    ones.iter().any(|one| others.iter().any(|other| includes(one, other) || includes(other, one)))
}

/// The addresses of a host, without a look-up: none for names other than `localhost`.
fn addresses(host: &str) -> Vec<IpAddr> {
    match host.parse::<IpAddr>() {
        Ok(address) => vec![address.to_canonical()],
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        Err(_) => Vec::new(),
    }
}

fn includes(wide: &IpAddr, narrow: &IpAddr) -> bool {
    wide == narrow || wide.is_unspecified() && (wide.is_ipv4() == narrow.is_ipv4() || wide.is_ipv6() && accepts_ipv4())
}

/// Whether `[::]` also accepts connections over IPv4, the default of Linux.
fn accepts_ipv4() -> bool {
    fs::read_to_string("/proc/sys/net/ipv6/bindv6only").map_or(true, |only| only.trim() != "1")
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a text is not a [`ListenAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListenAddressError {
    /// It has neither form.
    #[error("expected an address such as \"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/run/zoho-gateway/proxy.sock\"")]
    Shape,
    /// The port is not a number from 0 to 65535.
    #[error("expected a port from 0 to 65535 after the last colon")]
    Port,
    /// A socket cannot have this path.
    #[error("expected a path of 1 to 107 bytes after \"unix:\"")]
    Path,
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() || path.len() > LONGEST_SOCKET_PATH || path.contains('\0') {
                return Err(ListenAddressError::Path);
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let (host, port) = text.rsplit_once(':').ok_or(ListenAddressError::Shape)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host.parse::<IpAddr>().ok().filter(IpAddr::is_ipv6).map(|address| address.to_string()),
            None => is_name(host).then(|| host.to_owned()),
        };
        let host = host.ok_or(ListenAddressError::Shape)?;
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ListenAddressError::Port);
        }
        let port = port.parse().map_err(|_| ListenAddressError::Port)?;
        Ok(Self::Tcp { host, port })
    }
}

/// Whether it can be a host name or an IPv4 address.
fn is_name(host: &str) -> bool {
    !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displayed_addresses_can_be_parsed() {
        for (text, local) in [
            ("127.0.0.1:8080", true),
            ("127.9.9.9:1", true),
            ("[::1]:8080", true),
            ("localhost:0", true),
            ("LocalHost:65535", true),
            ("unix:/run/zoho-gateway/proxy.sock", true),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("10.0.0.7:80", false),
            ("[::ffff:10.0.0.7]:80", false),
            ("gateway.internal:80", false),
            ("localhost.evil.example:80", false),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_local(), local, "{text}");
        }
    }

    #[test]
    fn finds_overlapping_addresses() {
        let overlap = |one: &str, another: &str| {
            let (one, another): (ListenAddress, ListenAddress) = (one.parse().unwrap(), another.parse().unwrap());
            assert_eq!(one.overlaps(&another), another.overlaps(&one));
            one.overlaps(&another)
        };
        for (one, another) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("127.0.0.1:80", "0.0.0.0:80"),
            ("10.0.0.7:80", "0.0.0.0:80"),
            ("[::1]:80", "[::]:80"),
            ("127.0.0.1:80", "localhost:80"),
            ("[::1]:80", "LocalHost:80"),
            ("0.0.0.0:80", "localhost:80"),
            ("localhost:80", "LOCALHOST:80"),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80"),
            ("gateway.internal:80", "0.0.0.0:80"),
            ("gateway.internal:80", "Gateway.Internal:80"),
            ("unix:/a", "unix:/a"),
        ] {
            assert!(overlap(one, another), "{one} {another}");
        }
        for (one, another) in [
            ("127.0.0.1:80", "127.0.0.1:81"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("0.0.0.0:0", "localhost:0"),
            ("127.0.0.1:80", "127.0.0.2:80"),
            ("127.0.0.2:80", "localhost:80"),
            ("127.0.0.1:80", "[::1]:80"),
            ("[::1]:80", "0.0.0.0:80"),
            ("10.0.0.7:80", "localhost:80"),
            ("gateway.internal:80", "127.0.0.1:80"),
            ("unix:/a", "unix:/b"),
            ("unix:/a", "127.0.0.1:80"),
        ] {
            assert!(!overlap(one, another), "{one} {another}");
        }
        assert_eq!(overlap("127.0.0.1:80", "[::]:80"), accepts_ipv4());
    }

    #[test]
    fn rejects_everything_else() {
        use ListenAddressError::{Path, Port, Shape};
        for (text, expected) in [
            ("", Shape),
            ("8080", Shape),
            (":8080", Shape),
            ("::1:8080", Shape),
            ("[127.0.0.1]:80", Shape),
            ("[::1", Shape),
            ("http://127.0.0.1:80", Shape),
            ("127.0.0.1", Shape),
            ("127.0.0.1:", Port),
            ("127.0.0.1:+1", Port),
            ("127.0.0.1:65536", Port),
            ("127.0.0.1:http", Port),
            ("unix:", Path),
            (&format!("unix:/{}", "x".repeat(107)), Path),
        ] {
            assert_eq!(text.parse::<ListenAddress>(), Err(expected), "{text}");
        }
    }
}
