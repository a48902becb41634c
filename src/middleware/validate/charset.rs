//! Whether a body is the same text in the charset that it names and in UTF-8.
//!
//! The gateway reads UTF-8, and Zoho may read the named charset. Most charsets have ASCII as their lower half, so a
//! body of ASCII bytes is the same text in both; clients with ISO-8859-1 as their default send such bodies. In a form
//! the bytes behind percent-escapes count as well. A byte beyond ASCII is another text in every charset but UTF-8.

use percent_encoding::percent_decode;

/// How a charset reads ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// UTF-8 itself.
    Utf8,
    /// ASCII bytes are ASCII characters.
    Ascii,
    /// The same except for `\` and `~`, which some readers take for a currency sign and an overline.
    AlmostAscii,
}

/// The charsets that a `Content-Type` names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Charsets<'a>(Vec<(&'a str, Family)>);

impl<'a> Charsets<'a> {
    /// Reads them in any spelling: several parameters, in quotes, or without a semicolon.
    ///
    /// # Errors
    /// The first one that is unknown, or in which ASCII bytes are other characters (UTF-16, UTF-7, EBCDIC).
    pub(super) fn named(content_type: &'a str) -> Result<Self, &'a str> {
        let named = labels(content_type).filter(|label| !label.is_empty());
        named.map(|label| family(label).map(|family| (label, family)).ok_or(label)).collect::<Result<_, _>>().map(Self)
    }

    /// Checks that a body is the same text in all of them and in UTF-8.
    ///
    /// # Errors
    /// The first one in which it is another text.
    pub(super) fn agree_on(&self, body: &[u8], is_form: bool) -> Result<(), &'a str> {
        let disagrees = |family: Family| {
            let differs = |byte: u8| match family {
                Family::Utf8 => false,
                Family::Ascii => !byte.is_ascii(),
                Family::AlmostAscii => !byte.is_ascii() || matches!(byte, b'\\' | b'~'),
            };
            family != Family::Utf8
                && if is_form { percent_decode(body).any(differs) } else { body.iter().copied().any(differs) }
        };
        match self.0.iter().find(|(_, family)| disagrees(*family)) {
            Some((label, _)) => Err(label),
            None => Ok(()),
        }
    }
}

/// Every value of `charset` in a field's value.
fn labels(content_type: &str) -> impl Iterator<Item = &str> {
    const NAME: &str = "charset";
    let at_name = |at: &usize| {
        let name = content_type.get(*at..at + NAME.len());
        let before = content_type[..*at].chars().next_back();
        name.is_some_and(|name| name.eq_ignore_ascii_case(NAME))
            && before.is_none_or(|before| !before.is_alphanumeric() && before != '-' && before != '_')
    };
    let starts = content_type.char_indices().map(|(at, _)| at).filter(at_name);
    starts.filter_map(|at| {
        let value = content_type[at + NAME.len()..].trim_start().strip_prefix('=')?.trim_start();
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => value.split([';', ',', ' ', '\t']).next(),
        };
        value.map(|value| value.trim().trim_matches('\''))
    })
}

/// Knows the names of the IANA registry and those that Java, Python and browsers write; `None` for all others.
fn family(label: &str) -> Option<Family> {
    let mut name: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
    name.make_ascii_lowercase();
    if label.chars().any(|letter| !letter.is_ascii_alphanumeric() && !matches!(letter, '-' | '_' | '.' | ':')) {
        return None;
    }
    let number = |prefixes: &[&str]| {
        let rest = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))?;
        rest.bytes().all(|byte| byte.is_ascii_digit()).then(|| rest.parse::<u32>().ok()).flatten()
    };
    match name.as_str() {
        "utf8" | "unicode11utf8" | "unicode20utf8" => return Some(Family::Utf8),
        "shiftjis" | "sjis" | "xsjis" | "mskanji" | "windows31j" | "csshiftjis" | "euckr" | "ksc5601"
        | "ksc56011987" => {
            return Some(Family::AlmostAscii);
        }
        "ascii" | "usascii" | "iso646us" | "ansix341968" | "ansix341986" | "latin" | "csisolatin1" | "macintosh"
        | "macroman" | "xmacroman" | "koi8" | "koi8r" | "koi8u" | "tis620" | "gb2312" | "gbk" | "gb18030" | "xgbk"
        | "euccn" | "big5" | "big5hkscs" | "eucjp" | "xeucjp" | "iso885911987" | "iso88598i" | "iso88598e"
        | "iso88596i" | "iso88596e" => return Some(Family::Ascii),
        _ => {}
    }
    if matches!(number(&["windows", "cp", "ms", "xwindows"]), Some(932 | 949)) {
        return Some(Family::AlmostAscii);
    }
    let latin = matches!(number(&["iso8859", "8859", "latin", "l"]), Some(1..=16));
    let windows = matches!(number(&["windows", "cp", "xcp", "ibm", "ms"]), Some(874 | 936 | 950 | 1250..=1258));
    let dos = matches!(
        number(&["ibm", "cp", "pc", "dos"]),
        Some(367 | 437 | 737 | 775 | 819 | 850 | 852 | 855 | 857 | 858 | 860..=863 | 865 | 866 | 869)
    );
    (latin || windows || dos).then_some(Family::Ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agrees(content_type: &str, body: &str, is_form: bool) -> bool {
        Charsets::named(content_type).is_ok_and(|charsets| charsets.agree_on(body.as_bytes(), is_form).is_ok())
    }

    #[test]
    fn ascii_is_the_same_in_most_charsets() {
        for charset in [
            "ISO-8859-1",
            "iso8859-1",
            "iso_8859-1:1987",
            "latin1",
            "latin-1",
            "Latin_1",
            "ISO-8859-15",
            "iso8859_15",
            "latin9",
            "windows-1252",
            "Cp1252",
            "WINDOWS-1250",
            "us-ascii",
            "US_ASCII",
            "ascii",
            "ANSI_X3.4-1968",
            "IBM850",
            "cp437",
            "IBM00858",
            "KOI8-R",
            "x-MacRoman",
            "GBK",
            "gb18030",
            "Big5",
            "EUC-JP",
            "TIS-620",
            "windows-874",
            "utf-8",
            "UTF8",
            "utf_8",
            "Shift_JIS",
            "windows-31j",
            "MS932",
            "EUC-KR",
            "x-windows-949",
        ] {
            for form in [
                format!("application/x-www-form-urlencoded; charset={charset}"),
                format!("application/x-www-form-urlencoded;CHARSET=\"{charset}\""),
                format!("application/x-www-form-urlencoded; charset = '{charset}' ; x=y"),
                format!("application/x-www-form-urlencoded charset={charset}"),
                format!("application/x-www-form-urlencoded; charset=utf-8, charset={charset}"),
            ] {
                assert!(agrees(&form, "a=%5B1%2C2%5D&b=c+d%0A%26", true), "{form}");
            }
        }
    }

    #[test]
    fn a_byte_beyond_ascii_is_another_text_in_all_but_utf_8() {
        for (charset, body, same) in [
            ("utf-8", "a=%E9", true),
            ("utf-8", "a=é", true),
            ("iso-8859-1", "a=%E9", false),
            ("iso-8859-1", "a=%c3%a9", false),
            ("iso-8859-1", "a=é", false),
            ("windows-1252", "a=%80", false),
            ("us-ascii", "a=%C3%A9", false),
            ("gbk", "a=%D6%D0", false),
            ("utf-8; charset=iso-8859-1", "a=%E9", false),
            ("iso-8859-1; charset=utf-8", "a=%E9", false),
            // Broken escapes are ASCII, and percent signs are decoded once.
            ("iso-8859-1", "a=%zz%25E9", true),
            ("shift_jis", "a=%5C", false),
            ("shift_jis", "a=~", false),
            ("euc-kr", "a=\\", false),
        ] {
            let form = format!("application/x-www-form-urlencoded; charset={charset}");
            assert_eq!(agrees(&form, body, true), same, "{charset} {body}");
        }
        // JSON has escapes of its own.
        assert!(agrees("application/json; charset=iso-8859-1", r#"{"a":"%E9\u00e9"}"#, false));
        assert!(!agrees("application/json; charset=iso-8859-1", r#"{"a":"é"}"#, false));
    }

    #[test]
    fn rejects_charsets_in_which_ascii_is_something_else() {
        for charset in [
            "utf-16",
            "UTF-16LE",
            "utf-32",
            "utf-7",
            "UNICODE-1-1-UTF-7",
            "ibm037",
            "cp037",
            "IBM1047",
            "cp1047",
            "IBM500",
            "IBM273",
            "cp930",
            "IBM-1140",
            "iso-2022-jp",
            "ISO-2022-KR",
            "iso-2022-cn",
            "hz-gb-2312",
            "scsu",
            "bocu-1",
            "x",
            "utf-8''x",
            "iso-8859-1\\",
            "iso-8859-17",
            "ibm864",
            "utf-8\u{200b}",
            "*",
            "csUnicode",
            "ucs-2",
        ] {
            for form in [format!("a/b; charset={charset}"), format!("a/b; charset=utf-8; charset=\"{charset}\"")] {
                assert!(Charsets::named(&form).is_err(), "{form}");
            }
        }
    }

    #[test]
    fn a_body_without_a_charset_is_utf_8() {
        for content_type in ["", "a/b", "a/b; charset=", "a/b; charset=\"\"", "a/b; x-charset=utf-16", "a/b; charset"] {
            assert_eq!(Charsets::named(content_type), Ok(Charsets(Vec::new())), "{content_type}");
        }
    }
}
