//! Host names in `Host`, in absolute targets and in the configuration.

use std::net::IpAddr;

/// The suffixes that are reserved for private use. The public DNS never answers for a name under them, so no page on
/// the internet can have such an origin and make it resolve to this machine: RFC 6761 (`localhost`, `test`), RFC 6762
/// (`local`), RFC 8375 (`home.arpa`), and ICANN's board in 2024 (`internal`).
const PRIVATE: [&str; 5] = ["home.arpa", "internal", "local", "localhost", "test"];

/// The name in lower case, without its port and without the dot at the end of a fully qualified name, so that two
/// spellings of a host compare as equal. An IPv6 address keeps its brackets.
#[must_use]
pub fn name(authority: &str) -> String {
    let name = without_port(authority);
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether an authority names a port.
#[must_use]
pub fn has_port(authority: &str) -> bool {
    without_port(authority).len() < authority.len()
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

/// The address that a host is, an IPv6 one with or without its brackets.
#[must_use]
pub fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether a host is this machine, whatever a resolver says: a loopback address, or `localhost`.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    address(host).map_or_else(|| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

/// Whether a [`name`] is this machine for browsers and resolvers that follow RFC 6761 section 6.3: also a name under
/// `localhost`.
#[must_use]
pub fn is_local(name: &str) -> bool {
    is_loopback(name) || name.ends_with(".localhost")
}

/// Whether a name is for private use: it has one label, or a reserved suffix.
#[must_use]
pub fn is_private(name: &str) -> bool {
    let under = |suffix: &str| name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.is_empty() && (!name.contains('.') || PRIVATE.iter().any(|suffix| under(suffix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        for (authority, expected) in [
            ("people.zoho.com", "people.zoho.com"),
            ("People.ZOHO.com:8080", "people.zoho.com"),
            ("people.zoho.com.", "people.zoho.com"),
            ("people.zoho.com.:443", "people.zoho.com"),
            ("people.zoho.com:", "people.zoho.com"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1:80", "127.0.0.1"),
            // These are other names.
            ("people.zoho.com..", "people.zoho.com."),
            ("people.zoho.com:x", "people.zoho.com:x"),
            ("evil@people.zoho.com:80", "evil@people.zoho.com"),
            ("", ""),
            (":80", ""),
        ] {
            assert_eq!(name(authority), expected, "{authority}");
        }
        assert!(has_port("a:1") && has_port("[::1]:1") && !has_port("a") && !has_port("[::1]"));
    }

    #[test]
    fn this_machine_differs_from_others() {
        for host in ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST"] {
            assert!(is_loopback(host) && is_local(host), "{host}");
        }
        // A resolver may look it up elsewhere.
        assert!(is_local("app.localhost") && !is_loopback("app.localhost"));
        // Browsers do not trust the last one.
        for host in ["", "10.0.0.1", "0.0.0.0", "[::]", "localhost.example", "evil-localhost", "[::ffff:127.0.0.1]"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn private_names_never_exist_in_the_public_dns() {
        for name in [
            "gateway",
            "localhost",
            "app.localhost",
            "upstream.test",
            "host.docker.internal",
            "host.containers.internal",
            "host.lima.internal",
            "internal",
            "gateway.team.svc.cluster.local",
            "nas.home.arpa",
        ] {
            assert!(is_private(name), "{name}");
        }
        for name in [
            "",
            "evil.example",
            "evil-internal.example",
            "host.docker.internal.evil.example",
            "evilhome.arpa",
            "arpa.home",
            "printer.lan",
            "files.corp",
        ] {
            assert!(!is_private(name), "{name}");
        }
    }
}
