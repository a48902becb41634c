//! The hosts that are reached without the proxy: the rules of `NO_PROXY`, as curl and Go read them.
//!
//! hyper-util's `Matcher` does not support ports, brackets or `*.` before a name, and reads a network with a wrong
//! prefix as a name.

use std::{net::IpAddr, str::FromStr};

use http::{Uri, uri::Scheme};

use crate::message::host;

/// A list of rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Rule>);

/// A set of hosts, and a port or all ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    text: String,
    hosts: Hosts,
    /// `None` means any port.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    /// This name and all names below it, in lower case.
    Below(String),
    /// The addresses that share this many bits with this one.
    Network(IpAddr, u8),
}

/// A text that is not a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a host such as \"example.com\", \".internal\" or \"10.0.0.0/8\", with or without a port, or \"*\"")]
pub struct NoRule;

impl NoProxy {
    /// The rules in a variable's value. Invalid ones are ignored, as other programs do.
    #[must_use]
    pub fn lenient(text: &str) -> Self {
        let parts = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty());
        parts.filter_map(|part| part.parse().ok()).collect()
    }

    /// Whether this address is reached without the proxy; addresses of this machine always are.
    pub(super) fn covers(&self, uri: &Uri) -> bool {
        let Some(host) = uri.host() else { return false };
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        let address = host::address(&host).map(|address| address.to_canonical());
        let local = host::is_local(&host) || address.is_some_and(|address| address.is_loopback());
        let default = if uri.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 };
        let port = uri.port_u16().unwrap_or(default);
        local || self.0.iter().any(|rule| rule.covers(&host, address, port))
    }

    /// The rules for operators.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|rule| rule.text.as_str())
    }
}

impl FromIterator<Rule> for NoProxy {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl Rule {
    fn covers(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        let fits = match (&self.hosts, address) {
            (Hosts::All, _) => true,
            (Hosts::Below(name), None) => {
                host.strip_suffix(name.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }
            (Hosts::Network(network, bits), Some(address)) => contains(*network, *bits, address),
            (Hosts::Below(_), Some(_)) | (Hosts::Network(..), None) => false,
        };
        fits && self.port.is_none_or(|only| only == port)
    }
}

impl FromStr for Rule {
    type Err = NoRule;

    fn from_str(text: &str) -> Result<Self, NoRule> {
        let text = text.trim().to_ascii_lowercase();
        let (host, port) = split(&text)?;
        Ok(Self { hosts: hosts(host)?, port, text })
    }
}

/// Host and port; an IPv6 address with a port has brackets.
fn split(text: &str) -> Result<(&str, Option<u16>), NoRule> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(NoRule)?;
            match rest.strip_prefix('/') {
                // The prefix of a network may follow the bracket.
                Some(_) if rest.contains(':') => return Err(NoRule),
                Some(_) => return Ok((text, None)),
                None if rest.is_empty() => (host, None),
                None => (host, Some(rest.strip_prefix(':').ok_or(NoRule)?)),
            }
        }
        None if text.matches(':').count() > 1 => (text, None),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map(|port| port.parse().map_err(|_| NoRule)).transpose()?;
    Ok((host, port))
}

fn hosts(text: &str) -> Result<Hosts, NoRule> {
    if text == "*" {
        return Ok(Hosts::All);
    }
    if let Some((network, bits)) = text.split_once('/') {
        let network = network.trim_start_matches('[').trim_end_matches(']');
        let network: IpAddr = network.parse().map_err(|_| NoRule)?;
        let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits: u8 = bits.parse().ok().filter(|bits| digits && *bits <= width(network)).ok_or(NoRule)?;
        return Ok(Hosts::Network(network, bits));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let address = address.to_canonical();
        return Ok(Hosts::Network(address, width(address)));
    }
    let name = text.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(text);
    let name = name.strip_prefix('.').unwrap_or(name).trim_end_matches('.');
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(NoRule);
    }
    Ok(Hosts::Below(name.to_owned()))
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Whether the first bits are the same.
fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let first = |number: u128, width: u8| number.checked_shr(u32::from(width - bits)).unwrap_or(0);
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            first(u32::from(network).into(), 32) == first(u32::from(address).into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => first(network.into(), 128) == first(address.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_covered_as_other_programs_do() {
        for (rules, uri, expected) in [
            ("", "https://people.zoho.com", false),
            ("*", "https://people.zoho.com", true),
            ("none.invalid, *", "https://people.zoho.com", true),
            ("zoho.com", "https://people.zoho.com", true),
            (".zoho.com", "https://people.zoho.com/a", true),
            ("*.zoho.com", "https://people.zoho.com", true),
            (".zoho.com", "https://zoho.com", true),
            ("ZOHO.com.", "https://People.Zoho.COM.", true),
            ("oho.com", "https://people.zoho.com", false),
            ("people.zoho.com.example", "https://people.zoho.com", false),
            ("zoho.eu zoho.com", "https://people.zoho.com", true),
            ("zoho.com:443", "https://people.zoho.com", true),
            ("zoho.com:443", "http://people.zoho.com", false),
            ("zoho.com:8443", "https://people.zoho.com:8443", true),
            ("*:80", "http://people.zoho.com", true),
            ("*:80", "https://people.zoho.com", false),
            ("10.0.0.0/8", "https://10.1.2.3", true),
            ("10.0.0.0/8", "https://11.1.2.3", false),
            ("10.1.2.3", "https://10.1.2.3:8443", true),
            ("10.1.2.3:8443", "https://10.1.2.3:8443", true),
            ("10.1.2.3:8443", "https://10.1.2.3", false),
            ("10.1.2.3", "https://10.1.2.30", false),
            ("0.0.0.0/0", "https://10.1.2.3", true),
            ("0.0.0.0/0", "https://people.zoho.com", false),
            ("192.168.1.64/26", "https://192.168.1.127", true),
            ("192.168.1.64/26", "https://192.168.1.128", false),
            ("10.0.0.0/33,10.0.0.0/,10.0.0.0/+8,10.0.0.0/8/8", "https://10.1.2.3", false),
            ("2001:db8::/32", "https://[2001:db8:1::1]", true),
            ("[2001:db8::]/32", "https://[2001:db8:1::1]", true),
            ("2001:db8::/32", "https://[2001:db9::1]", false),
            ("[2001:db8::1]:443", "https://[2001:db8::1]", true),
            ("[2001:db8::1]:444", "https://[2001:db8::1]", false),
            ("2001:db8::1", "https://[2001:0db8::1]", true),
            ("::/0", "https://[2001:db8::1]", true),
            ("10.1.2.3", "https://[::ffff:10.1.2.3]", true),
        ] {
            assert_eq!(NoProxy::lenient(rules).covers(&uri.parse().unwrap()), expected, "{rules}: {uri}");
        }
    }

    #[test]
    fn addresses_of_this_machine_are_always_covered() {
        for (uri, expected) in [
            ("http://127.0.0.1:9300", true),
            ("http://127.1.2.3", true),
            ("http://localhost:1", true),
            ("http://LocalHost", true),
            ("http://zoho.localhost.", true),
            ("http://[::1]:80", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://localhost.example", false),
            ("http://notlocalhost", false),
            ("http://128.0.0.1", false),
        ] {
            assert_eq!(NoProxy::default().covers(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn an_invalid_configured_rule_is_refused() {
        for text in
            ["", ".", "*.", "a b", "http://a", "a:b", "a:70000", "10.0.0.0/33", "::/129", "[::1", "[::1]x", "a/8"]
        {
            assert_eq!(text.parse::<Rule>(), Err(NoRule), "{text}");
        }
    }
}
