//! What could make another call of a request than its request line says, to a server that knows it: frameworks let a field
//! or a parameter stand for the method or the path. Zoho documents none of them, nor that they are ignored.

use percent_encoding::percent_decode_str;

use crate::fault::Fault;

/// As fields, and by some servers as parameters; the last one stands in forms, for Rails, Laravel, Symfony and Spring.
const NAMES: [&str; 9] = [
    "http-method-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
    "-method",
];

/// Whether a field or a parameter of this name is one. Some servers take `_` for `-`, and some `_` for what is no part of a
/// variable's name.
#[must_use]
pub fn is_override(name: &str) -> bool {
    let alike = |(one, known): (u8, u8)| {
        one.eq_ignore_ascii_case(&known) || (known == b'-' && matches!(one, b'_' | b'.' | b'+' | b' ' | b'['))
    };
    NAMES.iter().any(|known| known.len() == name.len() && name.bytes().zip(known.bytes()).all(alike))
}

/// The first parameter of a query or a form that is one. Names are read as the most generous server would: without blanks
/// around them, up to a bracket or a NUL, in any case, and parted by `;` as well.
#[must_use]
pub fn in_parameters(pairs: &str) -> Option<Fault> {
    let names = pairs.split(['&', ';']).map(|pair| pair.split('=').next().unwrap_or_default());
    let found = names.filter(|name| name.len() >= SHORTEST).find_map(|name| {
        let decoded = percent_decode_str(name).decode_utf8_lossy();
        let blank = |letter: char| letter.is_whitespace() || matches!(letter, '+' | '\u{feff}');
        let name = decoded.trim_start_matches(blank);
        let end = name.char_indices().skip(1).find(|(_, letter)| matches!(letter, '[' | '\0'));
        let name = name[..end.map_or(name.len(), |(at, _)| at)].trim_end_matches(blank);
        is_override(name).then(|| name.to_owned())
    })?;
    Some(fault(found))
}

/// No name is shorter.
const SHORTEST: usize = 7;

/// The fault that it is.
#[must_use]
pub fn fault(parameter: String) -> Fault {
    let detail = "could make another call of this one; send the method and the path that are meant".to_owned();
    Fault { parameter, pointer: String::new(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_generously_as_any_server_would() {
        for pairs in [
            "_method=DELETE",
            "a=1&_METHOD=x",
            "%5fmethod=x",
            "_method[]=x",
            "_method%5B0%5D=x",
            "_method%00=x",
            "+_method=x",
            "%20_method%20=x",
            "a=1;_method=x",
            "x-http-method-override=x",
            "X_Http_Method_Override",
            "%09_method%0a=x",
            "%EF%BB%BF_method=x",
            ".method=x",
            "[method=x",
            "X.HTTP.Method.Override=x",
            "X+HTTP+Method=x",
        ] {
            assert!(in_parameters(pairs).is_some(), "{pairs}");
        }
        for pairs in ["", "a=_method", "method=x", "x_method=x", "_methods=x", "shareData={\"_method\":1}", "_=1&a"] {
            assert!(in_parameters(pairs).is_none(), "{pairs}");
        }
    }
}
