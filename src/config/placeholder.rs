//! Placeholders in place of credentials: from a template, or from a person who has yet to write the value. A configuration
//! with them is valid, and Zoho refuses every call.

/// What a text probably is, instead of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Placeholder {
    /// The name of a variable, in the syntax of a shell or template.
    Variable(String),
    /// The path of a file.
    Path,
    /// Something to be replaced.
    Unfilled,
}

/// Words of placeholders, without separators and in lower case.
const WORDS: [&str; 22] = [
    "changeit",
    "changeme",
    "changethis",
    "clientid",
    "clientsecret",
    "dummy",
    "example",
    "fillme",
    "fillmein",
    "fixme",
    "nil",
    "none",
    "null",
    "password",
    "redacted",
    "refreshtoken",
    "sample",
    "secret",
    "string",
    "tbd",
    "todo",
    "undefined",
];

/// Beginnings of requests for a value, and of references to other secret stores.
const BEGINNINGS: [&str; 12] =
    ["your", "my-", "my_", "enter", "insert", "replace", "changeme", "change-me", "change_me", "enc[", "env:", "env("];

impl Placeholder {
    /// What a text probably is, unless it may be a credential.
    pub(super) fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let inner = |before: &str, after: &str| text.strip_prefix(before)?.strip_suffix(after);
        // `${NAME}` and `${NAME:-default}`
        let braced = inner("${", "}").and_then(|inner| inner.split([':', '-', '?']).next());
        let written = braced.or_else(|| inner("%", "%")).or_else(|| text.strip_prefix('$'));
        if let Some(name) = written.filter(|name| is_a_variable(name)) {
            return Some(Self::Variable(name.to_owned()));
        }
        // Credentials have no underscores between capitals.
        if !is_unfilled(text)
            && is_a_variable(text)
            && text.contains('_')
            && !text.contains(|c: char| c.is_ascii_lowercase())
        {
            return Some(Self::Variable(text.to_owned()));
        }
        if text.starts_with(['/', '~']) || ["./", "../", "file:"].iter().any(|begin| text.starts_with(begin)) {
            return Some(Self::Path);
        }
        is_unfilled(text).then_some(Self::Unfilled)
    }

    /// What to write instead, for a message about that key.
    pub(super) fn advice(&self, key: &str) -> String {
        let suggested = format!("ZOHO_{}", key.to_ascii_uppercase());
        match self {
            Self::Variable(name) => format!(
                "looks like the name of a variable, and variables are not replaced here; write {key} = {{ env = \"{name}\" }}"
            ),
            Self::Path => format!("looks like a path; write {key} = {{ file = \"PATH\" }}"),
            Self::Unfilled => format!(
                "looks like a placeholder; write the value itself, {key} = {{ env = \"{suggested}\" }} or {key} = {{ file = \
                 \"PATH\" }}"
            ),
        }
    }
}

fn is_unfilled(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let bare: String = lower.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' ')).collect();
    let encloses = [("<", ">"), ("[", "]"), ("{", "}"), ("%", "%"), ("@", "@"), ("__", "__"), ("(", ")"), ("`", "`")];
    let template = ["${", "$(", "#{", "{{", "}}", "<%", "://"];
    // `xxx`, `***`, `1000.xxxx.xxxx`
    let rest = bare.strip_prefix("1000").unwrap_or(&bare);
    let one_letter = !text.is_empty() && rest.chars().all(|c| matches!(c, 'x' | '*' | '?' | '#' | '…' | '•'));
    one_letter
        || WORDS.contains(&bare.as_str())
        || BEGINNINGS.iter().any(|begin| lower.starts_with(begin))
        || ["changeme", "replaceme", "placeholder"].iter().any(|word| bare.contains(word))
        || template.iter().any(|sign| text.contains(sign))
        || encloses.iter().any(|(before, after)| text.len() > 1 && text.starts_with(before) && text.ends_with(after))
}

/// Whether a text looks like the name of a variable.
pub(super) fn is_a_variable(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a text may be a secret that a person pasted instead of the name of a variable or a file. Zoho's secrets, API
/// keys and hashes mix digits and letters; names hardly do.
pub(super) fn may_be_a_secret(text: &str) -> bool {
    let mixed = |word: &str| {
        let bytes = word.as_bytes();
        let changes = bytes.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
        let hexadecimal = word.len() >= 16 && bytes.iter().all(u8::is_ascii_hexdigit);
        hexadecimal || (word.len() >= 10 && changes >= 3)
    };
    text.starts_with("1000.")
        || text.len() > LONGEST_NAME
        || text.split(|c: char| !c.is_ascii_alphanumeric()).any(mixed)
}

/// Longer than the names of variables and files.
const LONGEST_NAME: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_what_was_not_filled_in() {
        let variable = |name: &str| Some(Placeholder::Variable(name.to_owned()));
        for (text, expected) in [
            ("${ZOHO_CLIENT_ID}", variable("ZOHO_CLIENT_ID")),
            ("${ZOHO_CLIENT_ID:-none}", variable("ZOHO_CLIENT_ID")),
            ("$zohoClientId", variable("zohoClientId")),
            ("%ZOHO_CLIENT_ID%", variable("ZOHO_CLIENT_ID")),
            ("ZOHO_CLIENT_ID", variable("ZOHO_CLIENT_ID")),
            ("/run/secrets/zoho", Some(Placeholder::Path)),
            ("file:secret", Some(Placeholder::Path)),
            ("~/.zoho/secret", Some(Placeholder::Path)),
        ] {
            assert_eq!(Placeholder::of(text), expected, "{text}");
        }
        for text in [
            "changeme",
            "CHANGE_ME",
            "change-me-please",
            "xxx",
            "XXXXXX",
            "1000.xxxx.xxxx",
            "your-client-id",
            "<client id>",
            "<CLIENT-ID>",
            "TODO",
            "tbd",
            "{{ .Values.clientId }}",
            "{{id}}",
            "$(cat secret)",
            "***",
            "secret",
            "client_id",
            "placeholder",
            "op://vault/zoho/secret",
            "ENC[AES256_GCM,data:x]",
            "replace with the id",
            " changeme ",
            "null",
            "__CLIENT_ID__",
            "@client.id@",
            "[client-id]",
            "#{id}",
            "my-client-secret",
        ] {
            assert_eq!(Placeholder::of(text), Some(Placeholder::Unfilled), "{text}");
        }
    }

    #[test]
    fn takes_credentials_for_what_they_are() {
        for text in [
            "1000.R2Z3A4B5C6D7E8F9G0H1I2J3K4L5M6",
            "8cb99d0f00c11e27aa8ef2",
            "1000.8ef20b7e41.c11e278cb99d",
            "1000.SANDBOX",
            "sandbox-client-secret",
            "1000.sandbox-refresh-token",
            "c11e27",
            "AKIA0EXAMPLE1",
            "x8f",
            "Tr0ub4dor&3",
            "abc/def+1=",
        ] {
            assert_eq!(Placeholder::of(text), None, "{text}");
        }
    }

    #[test]
    fn tells_names_from_secrets() {
        for name in
            ["ZOHO_CLIENT_SECRET", "zoho_secret_2", "refresh-token", "zoho-token-2026.txt", "secret", "TLS12_KEY"]
        {
            assert!(!may_be_a_secret(name), "{name}");
        }
        for secret in [
            "1000.abc",
            "8cb99d0f00c11e27aa8ef2d0",
            "s3cr3tc4n4ry",
            "zgk_Ab3dE5gH7jK9",
            "deadbeefdeadbeefdead",
            &"a".repeat(101),
        ] {
            assert!(may_be_a_secret(secret), "{secret}");
        }
    }
}
