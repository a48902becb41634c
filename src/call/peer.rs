//! The other end of a connection, as the connection itself shows it.

use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc};

/// The other end of a caller's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// How the connection reaches the gateway.
    pub exposure: Exposure,
    /// Its address.
    pub address: ClientAddress,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
    /// The subject alternative names of its verified client certificate; empty without one.
    pub names: Arc<[SubjectName]>,
}

/// The address of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAddress {
    /// Of a TCP connection.
    Tcp(SocketAddr),
    /// Clients of a Unix socket have no address.
    Unix,
}

/// From where a listener can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// Through a file: by the users that its mode allows.
    Unix,
    /// By every process of this machine, and so by every web page in a browser on it.
    Loopback,
    /// From other machines too.
    Network,
}

/// A name that a certificate gives its holder (RFC 5280 section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SubjectName {
    /// A DNS name, in lower case.
    Dns(String),
    /// A URI in its exact form, a SPIFFE ID for example.
    Uri(String),
}

/// The text is not a [`SubjectName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the name in a client's certificate: \"spiffe://example.org/payroll\" or \"payroll.example.org\"")]
pub struct NoSubjectName;

impl FromStr for SubjectName {
    type Err = NoSubjectName;

    fn from_str(text: &str) -> Result<Self, NoSubjectName> {
        // No DNS name holds a colon.
        if let Some((scheme, rest)) = text.split_once(':') {
            let named = !matches!(rest, "" | "//") && rest.bytes().all(|byte| byte.is_ascii_graphic());
            return if is_scheme(scheme) && named { Ok(Self::Uri(text.to_owned())) } else { Err(NoSubjectName) };
        }
        let label = |label: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&label.len()) && label.bytes().all(fits)
        };
        if text.len() > 253 || !text.split('.').all(label) {
            return Err(NoSubjectName);
        }
        Ok(Self::Dns(text.to_ascii_lowercase()))
    }
}

/// Whether the text is a scheme (RFC 3986 section 3.1).
fn is_scheme(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(fits)
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // An IPv6 socket shows IPv4 clients as ::ffff:192.0.2.1.
            Self::Tcp(address) => SocketAddr::new(address.ip().to_canonical(), address.port()).fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names_of_certificates() {
        let dns = |name: &str| Ok(SubjectName::Dns(name.to_owned()));
        let uri = |name: &str| Ok(SubjectName::Uri(name.to_owned()));
        for (text, expected) in [
            ("Payroll.Example.org", dns("payroll.example.org")),
            ("payroll", dns("payroll")),
            ("spiffe://example.org/ns/hr/sa/payroll", uri("spiffe://example.org/ns/hr/sa/payroll")),
            ("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", uri("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6")),
            ("a+b://c", uri("a+b://c")),
            ("a-1.b:c", uri("a-1.b:c")),
            ("", Err(NoSubjectName)),
            (":", Err(NoSubjectName)),
            ("urn:", Err(NoSubjectName)),
            ("1a:b", Err(NoSubjectName)),
            ("a_b://c", Err(NoSubjectName)),
            ("\u{e9}:a", Err(NoSubjectName)),
            ("*.example.org", Err(NoSubjectName)),
            ("a..b", Err(NoSubjectName)),
            ("spiffe://", Err(NoSubjectName)),
            ("spiffe://a b", Err(NoSubjectName)),
            ("://a", Err(NoSubjectName)),
        ] {
            assert_eq!(text.parse::<SubjectName>(), expected, "{text}");
        }
    }
}
