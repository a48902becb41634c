//! The keys of the configuration as data: `table` has each key once, and this module says what a key is.
//!
//! The reader takes names, kinds and defaults from the table, and `zoho-gateway schema` prints all of it. A test writes
//! `config/gateway.example.toml` and the reference in docs/configuration.md from it.

mod table;

use std::{ops::RangeInclusive, time::Duration};

pub(super) use self::table::{RENAMED, ROOT};
use super::quantity;

/// One key.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) value: Shown,
    /// Completes "is missing; expected ..."; empty for keys that may be absent.
    pub(super) missing: &'static str,
    /// One line each, beginning with a space.
    pub(super) doc: &'static [&'static str],
}

/// The value that the example file shows, as TOML; for tables of the root, their header.
pub(super) enum Shown {
    /// It holds when the key is absent.
    Default(&'static str),
    /// The key has to be there.
    Required(&'static str),
    /// The key is absent unless it is needed.
    Example(&'static str),
}

/// What a key may hold. A text completes "expected ...".
pub(super) enum Kind {
    Duration(RangeInclusive<Duration>),
    Size(RangeInclusive<u64>),
    Integer(RangeInclusive<u32>),
    Boolean,
    /// One of a few words.
    Word(fn() -> Vec<&'static str>),
    Text(&'static str),
    /// The path of a file.
    File(&'static str),
    /// A text or a list of texts.
    List(&'static str),
    /// The same, where an empty list has a meaning.
    ListOrNone(&'static str),
    Secret,
    /// Hashes of API keys, or a file of them.
    Hashes,
    Table(&'static str, Keys),
    /// A table with the accounts server and each product.
    Endpoints,
    /// A table of tables by name.
    Named(Keys),
    /// A list of tables.
    Listed(Keys),
    /// Rules of parameters in the catalogue's language.
    Rules,
}

/// The keys of a table.
pub(super) type Keys = &'static [&'static [Key]];

impl Key {
    /// The default without quotes and brackets.
    pub(super) fn default(&self) -> Option<&'static str> {
        match self.value {
            Shown::Default(text) => Some(text.trim_matches(['[', ']', '"'])),
            Shown::Required(_) | Shown::Example(_) => None,
        }
    }

    /// What it does, with its range, on one line.
    pub(super) fn description(&self) -> String {
        let range = self.kind.range().map(|(least, most)| format!(" From {least} to {most}."));
        let doc: Vec<&str> = self.doc.iter().map(|line| line.trim()).collect();
        doc.join(" ") + &range.unwrap_or_default()
    }
}

impl Kind {
    /// The keys of the table that it may be.
    pub(super) fn keys(&self) -> Keys {
        match self {
            Self::Table(_, keys) | Self::Named(keys) | Self::Listed(keys) => keys,
            Self::Secret => &[table::SECRET],
            Self::Hashes => &[table::HASHES],
            Self::Endpoints => table::endpoints(),
            _ => &[],
        }
    }

    /// The least and the most that it may be.
    pub(super) fn range(&self) -> Option<(String, String)> {
        match self {
            Self::Duration(range) => Some((quantity::shown(*range.start()), quantity::shown(*range.end()))),
            Self::Size(range) => Some((quantity::shown_size(*range.start()), quantity::shown_size(*range.end()))),
            Self::Integer(range) => Some((range.start().to_string(), range.end().to_string())),
            _ => None,
        }
    }

    /// Completes "expected ...".
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Duration(_) => quantity::A_DURATION.to_owned(),
            Self::Size(_) => quantity::A_SIZE.to_owned(),
            Self::Integer(range) => format!("an integer from {} to {}", range.start(), range.end()),
            Self::Boolean => "true or false".to_owned(),
            Self::Word(words) => match words().as_slice() {
                [only] => format!("\"{only}\""),
                words => format!("one of \"{}\"", words.join("\", \"")),
            },
            Self::Secret => "a string, { env = \"NAME\" } or { file = \"PATH\" }".to_owned(),
            Self::Hashes => "the SHA-256 of an API key in hexadecimal digits".to_owned(),
            Self::Endpoints | Self::Named(_) => "a table".to_owned(),
            Self::Listed(_) => "a list of tables".to_owned(),
            Self::Rules => "a list of tables such as { name = \"erecno\", kind = \"digits\" }".to_owned(),
            Self::Text(text) | Self::File(text) | Self::List(text) | Self::ListOrNone(text) | Self::Table(text, _) => {
                (*text).to_owned()
            }
        }
    }
}

/// Whether a table of the root holds tables by name.
pub(super) fn are_named(table: &str) -> bool {
    ROOT.iter().copied().flatten().any(|key| key.name == table && matches!(key.kind, Kind::Named(_)))
}
