//! The pages that are written from `keys`: the example file, and the reference in docs/configuration.md.
//!
//! `UPDATE_PAGES=1 cargo test --lib config::tests::pages` writes them again.

use std::{fmt::Write, fs, path::PathBuf};

use super::*;
use crate::config::keys::{Key, Keys, Kind, ROOT, Shown};

const WIDTH: usize = 120;
const EXAMPLE: &str = "config/gateway.example.toml";
const REFERENCE: &str = "docs/configuration.md";
const BEGIN: &str = "<!-- keys: written by a test from src/config/keys/table.rs -->\n";
const END: &str = "<!-- end of keys -->\n";

const HEADER: &str = "\
# zoho-gateway: every key, with its default.
#
# Copy it, keep the account, delete the rest: the values here are the defaults.
# Lines that begin with \"#\" and no space are keys that are not set; the others explain.
# `zoho-gateway check --config FILE` shows every mistake at once, with line and column.
#
# Any key can be set by environment: ZOHO_GATEWAY__QUEUE__MAX_WAIT=10s, ZOHO_GATEWAY__ACCOUNTS__MAIN__DATA_CENTER=eu.
# Lists are comma-separated there; in route ids and names every character but letters and digits becomes \"_\".
# Durations are \"250ms\", \"30s\", \"5m\", \"1h\"; sizes are \"512B\", \"64KiB\", \"1MiB\".
# Relative paths start at this file's folder.
";

/// The rest of the extra route, whose keys are those of `[routes]`.
const EXTRA_ROUTE: &str = "\
#methods = [\"POST\"]
#scopes = [\"ZOHOPEOPLE.forms.ALL\", \"ZOHOPEOPLE.forms.UPDATE\"]
#requests = 30
";

const SECRETS: [(&str, &str); 3] =
    [("ZOHO_CLIENT_ID", "1000.ABC"), ("ZOHO_CLIENT_SECRET", "c11e27"), ("ZOHO_REFRESH_TOKEN", "1000.8ef2")];

fn of_root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The page is what it should be, or becomes it.
fn is_current(path: &str, expected: &str) {
    if std::env::var_os("UPDATE_PAGES").is_some() {
        fs::write(of_root(path), expected).unwrap();
    }
    let page = fs::read_to_string(of_root(path)).unwrap();
    assert!(page == expected, "{path} is not current: run UPDATE_PAGES=1 cargo test --lib config::tests::pages");
}

// === The example ===

fn example() -> String {
    let mut text = HEADER.to_owned();
    for table in ROOT.iter().copied().flatten() {
        text.push('\n');
        explain(&mut text, table);
        let (sign, header) = shown(table);
        writeln!(text, "{sign}{header}").unwrap();
        // The keys of [routes] are not shown a second time.
        for key in table.kind.keys()[0] {
            explain(&mut text, key);
            for inner in table_keys(key).filter(|inner| !inner.doc.is_empty()) {
                writeln!(text, "# {}: {}", inner.name, inner.description()).unwrap();
            }
            let (own, value) = shown(key);
            writeln!(text, "{}{} = {value}", if sign.is_empty() { own } else { sign }, key.name).unwrap();
        }
    }
    text + EXTRA_ROUTE
}

fn explain(text: &mut String, key: &Key) {
    let mut lines: Vec<String> = key.doc.iter().map(|line| format!("#{line}")).collect();
    let last = lines.last().map_or(0, String::len);
    let range = match key.kind.range() {
        Some((least, most)) => format!(" From {least} to {most}."),
        None => String::new(),
    };
    match lines.last_mut() {
        Some(line) if last + range.len() <= WIDTH => line.push_str(&range),
        _ => lines.push(format!("#{range}")),
    }
    if let Kind::Word(words) = &key.kind
        && words().len() > 3
    {
        lines.push(format!("# One of {}.", words().join(", ")));
    }
    lines.retain(|line| line != "#");
    lines.iter().for_each(|line| writeln!(text, "{line}").unwrap());
}

/// The value as it is written, which the compiler may have broken into lines.
fn shown(key: &Key) -> (&'static str, String) {
    let (sign, text) = match key.value {
        Shown::Default(text) | Shown::Required(text) => ("", text),
        Shown::Example(text) => ("#", text),
    };
    (sign, text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The keys of an inline table.
fn table_keys(key: &Key) -> impl Iterator<Item = &'static Key> {
    let keys: Keys = if matches!(key.kind, Kind::Table(..) | Kind::Endpoints) { key.kind.keys() } else { &[] };
    keys.iter().copied().flatten()
}

#[test]
fn the_example_is_current() {
    is_current(EXAMPLE, &example());
    assert!(example().lines().all(|line| line.len() <= WIDTH || !line.starts_with("# ")));
}

#[test]
fn the_example_loads_and_states_the_defaults() {
    let example = example();
    let defaults = format!("{:#?}", good(ACCOUNT, &[]));
    assert_eq!(format!("{:#?}", good(&example, &SECRETS)), defaults);

    // The same with every key of which the example shows the default.
    let (example, extra) = example.split_once("#[[extra_routes]]").unwrap();
    let (settings, rest) = example.split_once("#[callers.payroll]").unwrap();
    let routes = rest.split_once("#[routes.").unwrap().1;
    let routes = routes.replace("#throttle", "# throttle").replace("#aliases", "# aliases");
    let routes =
        routes.replace("#merge", "# merge").replace("#limits", "# limits").replace("#parameters", "# parameters");
    let routes = routes.replace("#stale =", "# stale =");
    let set = |text: &str| {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => format!("{key}\n"),
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect::<String>()
    };
    let endpoints = settings.replace("#endpoints", "endpoints").replace("#max_waiting_per", "max_waiting_per");
    let routes = set(&format!("#[routes.{routes}"));
    assert!(routes.contains("\nwindow = \"1m\"\n") && endpoints.contains("\nendpoints = "));
    assert_eq!(format!("{:#?}", good(&format!("{endpoints}{routes}"), &SECRETS)), defaults);
    let extra = with_account(&set(&format!("#[[extra_routes]]{extra}")));
    assert_eq!(route(&good(&extra, &[]), "people.forms.merge-records").methods, [http::Method::POST]);
}

// === The reference ===

fn reference() -> String {
    let mut text = BEGIN.to_owned();
    for table in ROOT.iter().copied().flatten() {
        let name = match &table.kind {
            Kind::Named(_) if table.name == "routes" => "[routes.\"ID\"]".to_owned(),
            Kind::Named(_) => format!("[{}.NAME]", table.name),
            Kind::Listed(_) => format!("[[{}]]", table.name),
            _ => format!("[{}]", table.name),
        };
        write!(text, "\n### `{name}`\n\n").unwrap();
        if !table.doc.is_empty() {
            write!(text, "{}\n\n", table.description()).unwrap();
        }
        text.push_str("| key | value | default | what it sets |\n| --- | --- | --- | --- |\n");
        for key in table.kind.keys()[0] {
            row(&mut text, key.name, key);
            for inner in table_keys(key) {
                row(&mut text, &format!("{}.{}", key.name, inner.name), inner);
            }
        }
    }
    text + "\n" + END
}

fn row(text: &mut String, name: &str, key: &Key) {
    let value = match &key.kind {
        Kind::Duration(_) => "duration".to_owned(),
        Kind::Size(_) => "size".to_owned(),
        Kind::Integer(_) => "integer".to_owned(),
        Kind::Boolean => "boolean".to_owned(),
        Kind::Word(words) => words().into_iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
        Kind::Text(_) => "string".to_owned(),
        Kind::File(_) => "path".to_owned(),
        Kind::List(_) | Kind::ListOrNone(_) => "string or list".to_owned(),
        Kind::Secret => "secret".to_owned(),
        Kind::Hashes => "string, list or `{ file }`".to_owned(),
        Kind::Table(..) | Kind::Endpoints | Kind::Named(_) | Kind::Listed(_) => "table".to_owned(),
        Kind::Rules => "list of tables".to_owned(),
    };
    let default = match key.value {
        Shown::Default(text) => format!("`{text}`"),
        Shown::Required(_) => "required".to_owned(),
        Shown::Example(_) => String::new(),
    };
    let doc = key.description().replace('|', "\\|").replace('*', "\\*").replace('<', "&lt;");
    writeln!(text, "| `{name}` | {value} | {default} | {doc} |").unwrap();
}

#[test]
fn the_reference_is_current() {
    let page = fs::read_to_string(of_root(REFERENCE)).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the beginning of the keys");
    let (_, after) = rest.split_once(END).expect("the end of the keys");
    is_current(REFERENCE, &format!("{before}{}{after}", reference()));
}
