//! Paths with parts that only a shell replaces, such as `~` and `$HOME`. They are valid, and mean a folder of that literal
//! name.

use std::fmt::Display;

use super::{
    placeholder::is_a_variable,
    reader::{Located, Section},
};

/// What to write instead of such a path. The message does not repeat the path.
pub(super) fn advice(path: &str) -> Option<&'static str> {
    if path.starts_with('~') {
        return Some("begins with ~, which is not replaced here; write the whole path of the home folder");
    }
    let unix = path.split('$').skip(1).any(|rest| {
        rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || rest.starts_with('{') && rest.contains('}')
    });
    let mut between: Vec<&str> = path.split('%').skip(1).collect();
    between.pop();
    let windows = between.into_iter().any(is_a_variable);
    (unix || windows).then_some(
        "seems to hold a variable such as ${NAME}, and variables are not replaced here; write the path itself",
    )
}

impl Section<'_> {
    /// A path that `parse` accepts, with a warning if only a shell would replace parts of it.
    pub(super) fn path<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        let mut hint = None;
        let found = self.parsed(key, |path| {
            hint = advice(path);
            parse(path).map_err(|error| match hint {
                Some(hint) => format!("{error}; the path {hint}"),
                None => error.to_string(),
            })
        });
        if let (Some(hint), Some(found)) = (hint, &found) {
            self.doubtful(key, &found.origin, hint);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_what_a_shell_would_replace() {
        for path in [
            "${HOME}/state",
            "$HOME/state",
            "/var/${NAME:-x}/state",
            "/var/lib/$name",
            "%HOME%/state",
            "/a/%APP_DATA%/b",
            "~/state",
            "~",
            "~zoho/state",
        ] {
            assert!(advice(path).is_some(), "{path}");
        }
        for path in ["/var/lib/zoho", "./state", "a~/b", "cost$", "5$5", "100%", "%41%20", "a%b c%d", "", "$(x)", "${"]
        {
            assert_eq!(advice(path), None, "{path}");
        }
    }
}
