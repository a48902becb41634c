//! An e-mail address as people type it: `rebecca@zylker.com`.
//!
//! RFC 5321 also allows quoted local parts, and IP addresses in brackets as domains. No calendar is shared with such an
//! address, and two parsers may disagree about their content (spaces, quotes, a second `@`).

use email_address::{EmailAddress, Error, Options};

/// RFC 5321 section 4.5.3.1.3: 256 for a path, two of which are its angle brackets.
const LONGEST: usize = 254;

/// What is wrong with an address, as text after a colon; `None` for a valid one.
pub(super) fn complaint(address: &str) -> Option<&'static str> {
    if address.chars().any(char::is_control) {
        return Some("it contains a control character");
    }
    if address.chars().any(char::is_whitespace) {
        return Some("it contains a space");
    }
    if address.contains('"') {
        return Some("quoted names are not accepted");
    }
    if address.len() > LONGEST {
        return Some("it is longer than 254 bytes");
    }
    let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
    match EmailAddress::parse_with_options(address, options) {
        Ok(parsed) => domain_complaint(parsed.domain()),
        Err(error) => Some(reason(error)),
    }
}

fn reason(error: Error) -> &'static str {
    match error {
        Error::MissingSeparator => "it has no @",
        Error::LocalPartEmpty => "it has no text before the @",
        Error::LocalPartTooLong => "it has more than 64 bytes before the @",
        Error::DomainEmpty => "it has no text after the @",
        Error::SubDomainEmpty => "a part of its domain is empty",
        Error::SubDomainTooLong => "a part of its domain is longer than 63 bytes",
        Error::DomainTooFew => "its domain has no dot",
        Error::UnsupportedDomainLiteral => "a domain in brackets is not accepted",
        _ => "it contains a character in a wrong position",
    }
}

/// What the parser does not check: it accepts the punctuation of a local part in a domain as well, and an IPv4 address
/// as a domain name.
fn domain_complaint(domain: &str) -> Option<&'static str> {
    if domain.chars().any(|character| character.is_ascii_punctuation() && !matches!(character, '.' | '-')) {
        return Some("a domain has only letters, digits, hyphens and dots");
    }
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    domain.rsplit('.').next().is_some_and(numeric).then_some("no top-level domain consists of digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_addresses_that_people_type() {
        let local = "a".repeat(64);
        for good in [
            "rebecca@zylker.com",
            "xyz@zohocorp.org.in",
            "first.last+tag@sub-domain.example.co",
            "o'brien_{x}~!#$%&*/=?^`|@example.com",
            "user@3com.com",
            "user@xn--bcher-kva.example",
            "jürgen@bücher.example",
            &format!("{local}@example.com"),
        ] {
            assert_eq!(complaint(good), None, "{good}");
        }
    }

    #[test]
    fn names_the_reason() {
        for (bad, reason) in [
            ("", "no @"),
            ("a@b@c.example", "wrong position"),
            ("user@domain.com\r\n", "control character"),
            ("us\u{3000}er@domain.com", "space"),
            ("\"user\"@domain.com", "quoted"),
            ("user@[192.0.2.1]", "brackets"),
            ("user@localhost", "no dot"),
            ("user@192.0.2.1", "digits"),
        ] {
            assert!(complaint(bad).is_some_and(|complaint| complaint.contains(reason)), "{bad}: {:?}", complaint(bad));
        }
    }

    #[test]
    fn measures_in_bytes() {
        let label = "d".repeat(61);
        let address = |local: usize| format!("{}@{label}.{label}.{label}.info", "a".repeat(local));
        assert_eq!(address(64).len(), LONGEST + 1);
        assert_eq!(complaint(&address(63)), None);
        assert!(complaint(&address(64)).is_some());
    }
}
