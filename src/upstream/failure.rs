//! What a failed exchange with Zoho means for the caller and for the ledger.

use std::{error::Error, io};

use hyper_util::client::legacy;

use super::{Elapsed, NoTunnel};
use crate::{
    message::body::BodyError,
    problem::{Cause, UpstreamFault},
};

/// The longest error text; a chain of messages takes about two hundred characters.
const LONGEST_LOG: usize = 500;

/// An exchange without an answer.
#[derive(Debug)]
pub struct Failure {
    /// The reason for the caller.
    pub cause: Cause,
    /// No byte of the request can have left the gateway.
    pub never_sent: bool,
}

impl Failure {
    /// Zoho did not answer in time.
    #[must_use]
    pub fn timeout(server: &str) -> Self {
        let fault = fault(server, "http_response_timeout", "no answer in time".into());
        Self { cause: Cause::UpstreamTimeout(fault), never_sent: false }
    }

    /// The answer's body ended early or was invalid.
    #[must_use]
    pub fn invalid(server: &str, error: &'static str, log: String) -> Self {
        Self { cause: Cause::UpstreamInvalidResponse(fault(server, error, log)), never_sent: false }
    }

    /// The failure in words for operators: server, error type and chain of causes.
    #[must_use]
    pub fn for_operators(&self) -> String {
        match &self.cause {
            Cause::UpstreamUnreachable(fault)
            | Cause::UpstreamInvalidResponse(fault)
            | Cause::UpstreamTimeout(fault) => {
                format!("{}: {} ({})", fault.server, fault.error, fault.log)
            }
            _ => "the request could not be sent".to_owned(),
        }
    }

    fn connection_timeout(fault: UpstreamFault) -> Self {
        let fault = UpstreamFault { error: "connection_timeout", before_the_call: true, ..fault };
        Self { cause: Cause::UpstreamTimeout(fault), never_sent: true }
    }

    /// Says that the exchange never had a connection.
    #[must_use]
    pub fn without_connection(self) -> Self {
        match self.cause {
            Cause::UpstreamTimeout(fault) => Self::connection_timeout(fault),
            Cause::UpstreamInvalidResponse(fault) => {
                Self { cause: Cause::UpstreamUnreachable(fault), never_sent: true }
            }
            cause => Self { cause, never_sent: true },
        }
    }

    /// Reads hyper's error. `max_body` is the limit that a streamed request body may have exceeded.
    #[must_use]
    pub fn of(error: &legacy::Error, server: &str, max_body: u64) -> Self {
        let log = chain(error);
        if let Some(BodyError::Refused) = find(error) {
            return Self { cause: Cause::BodyOverrides, never_sent: false };
        }
        if let Some(BodyError::TooLarge) = find(error) {
            return Self { cause: Cause::BodyTooLarge { limit: max_body, form: false }, never_sent: false };
        }
        if find::<BodyError>(error).is_some() {
            return Self { cause: Cause::BodyIncomplete, never_sent: false };
        }
        if error.is_connect() {
            if let Some(Elapsed { proxy, .. }) = find(error) {
                let proxy = proxy.as_ref().map(|proxy| format!("through the proxy {proxy}"));
                return Self::connection_timeout(UpstreamFault { proxy, ..fault(server, "connection_timeout", log) });
            }
            let no_tunnel = find::<NoTunnel>(error);
            let kind = no_tunnel.and_then(NoTunnel::kind).unwrap_or_else(|| connect_error(error));
            let fault = UpstreamFault { proxy: no_tunnel.map(ToString::to_string), ..fault(server, kind, log) };
            return Self { cause: Cause::UpstreamUnreachable(fault), never_sent: true };
        }
        let kind = match find::<hyper::Error>(error) {
            Some(hyper) if hyper.is_parse() => "http_protocol_error",
            Some(hyper) if hyper.is_incomplete_message() => "http_response_incomplete",
            _ => "connection_terminated",
        };
        Self::invalid(server, kind, log)
    }
}

/// The error type of RFC 9209 section 2.3 for a connection that could not be established.
fn connect_error(error: &legacy::Error) -> &'static str {
    if find::<rustls::Error>(error).is_some_and(|tls| matches!(tls, rustls::Error::InvalidCertificate(_))) {
        return "tls_certificate_error";
    }
    if find::<rustls::Error>(error).is_some() {
        return "tls_protocol_error";
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "connection_refused",
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => "destination_ip_unroutable",
        _ if chain(error).contains("dns error") => "dns_error",
        _ => "destination_unavailable",
    }
}

fn fault(server: &str, error: &'static str, log: String) -> UpstreamFault {
    UpstreamFault { error, server: server.to_owned(), log: excerpt(&log), before_the_call: false, proxy: None }
}

/// An error for log and `/readyz`. The server can control parts of the text, such as the names in its certificate, so
/// long texts are cut and control characters are replaced.
fn excerpt(log: &str) -> String {
    let printable = |char: char| if char.is_ascii_graphic() || char == ' ' { char } else { '?' };
    let mut excerpt: String = log.chars().take(LONGEST_LOG).map(printable).collect();
    if log.chars().nth(LONGEST_LOG).is_some() {
        excerpt.push_str("...");
    }
    excerpt
}

/// The first error of type `E` in the chain, which continues inside of io errors.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// All messages of the chain, outermost first.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut log = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        log.push_str(": ");
        log.push_str(&error.to_string());
        next = error.source();
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_part_of_an_error_is_short_and_printable() {
        for (log, expected) in [
            ("connection refused (os error 111)".to_owned(), "connection refused (os error 111)".to_owned()),
            ("a\u{1b}[31m\r\nb\u{202e}".to_owned(), "a?[31m??b?".to_owned()),
            ("x".repeat(60_000), format!("{}...", "x".repeat(LONGEST_LOG))),
        ] {
            let Cause::UpstreamInvalidResponse(fault) = Failure::invalid("zoho", "x", log).cause else { panic!() };
            assert_eq!(fault.log, expected);
        }
    }
}
