//! Checks the map in ARCHITECTURE.md: imports go down only, and some things happen in one place only.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The levels of the source, from the top down. A module imports from lower levels only, and not from modules of its
/// own level. The parts of [`SPLIT`] are modules of their own.
const LEVELS: &[&[&str]] = &[
    &["cli"],
    &["app", "app::configured", "app::current", "app::handover", "app::kept", "app::reload", "app::state"],
    // The code that builds the path, and the admin listener.
    &["app::stack", "app::admin", "config"],
    // The layers: only the types of `call` pass between them.
    &[
        "middleware::edge",
        "middleware::browser_guard",
        "middleware::caller",
        "middleware::route",
        "middleware::validate",
        "middleware::dry_run",
        "middleware::jobs",
        "middleware::cache",
        "middleware::audit",
        "middleware::retry",
        "middleware::merge",
        "middleware::throttle",
        "middleware::token",
        "middleware::forward",
    ],
    &["middleware::layer", "middleware::single_flight"],
    &["listener"],
    &["telemetry", "upstream"],
    &["problem"],
    &["call"],
    &["ledger"],
    &["zoho", "redis"],
    &["message"],
    &["secret"],
    &["os"],
];

/// The folders whose parts have levels of their own.
const SPLIT: [&str; 2] = ["app", "middleware"];

/// The sandbox judges the gateway, so it shares only the clock with it.
const SANDBOX: &str = "sandbox";

/// Words with a plainer standard term, or that a reader has to parse twice.
const UNCLEAR_WORDS: &[&str] = &[
    "room",
    "bell",
    "desk",
    "whoever",
    "that is no",
    "is none that",
    "parted by",
    "hears so",
    "stand-in",
    "slip of the pen",
    "mend",
    "mends",
    "mended",
];

/// A module in a path that begins with `crate::`.
struct Mention {
    file: PathBuf,
    line: usize,
    from: String,
    to: String,
}

#[test]
fn imports_go_down_only() {
    let level = |module: &str| LEVELS.iter().position(|level| level.contains(&module));
    let mut wrong = Vec::new();
    for Mention { file, line, from, to } in mentions() {
        let fault = match (from.as_str(), to.as_str()) {
            (SANDBOX, "os") | ("cli", SANDBOX) => continue,
            (SANDBOX, _) | (_, SANDBOX) => "the sandbox shares no code with the gateway".to_owned(),
            _ => match (level(&from), level(&to)) {
                (Some(above), Some(below)) if above < below => continue,
                (Some(above), Some(below)) => format!("level {above} imports from level {below}"),
                (None, _) => format!("{from} has no level"),
                (_, None) => format!("{to} has no level"),
            },
        };
        wrong.push(format!("{}:{line}: {from} -> {to}: {fault}", file.display()));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_level() {
    let lib = fs::read_to_string(source().join("lib.rs")).expect("src/lib.rs");
    let modules: Vec<_> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(modules.len() > 10, "{modules:?}");
    for module in modules {
        let has_level =
            LEVELS.iter().flat_map(|level| level.iter()).any(|name| name.split("::").next() == Some(module));
        assert!(module == SANDBOX || has_level, "{module} has no level");
    }
}

#[test]
fn the_source_has_few_entries() {
    let entries = fs::read_dir(source()).expect("src").count();
    assert!(entries <= 18, "{entries} entries under src/: a new reader looks at each");
}

#[test]
fn only_the_clock_reads_the_time() {
    happens_only_in("os/clock.rs", &["Instant::now(", "SystemTime::now(", "now_v7("]);
}

#[test]
fn only_upstream_builds_a_client() {
    happens_only_in("upstream", &["Client::builder", "HttpConnector::new", "HttpsConnectorBuilder"]);
}

#[test]
fn only_the_metrics_name_a_metric() {
    happens_only_in("telemetry/metrics", &["prometheus_client", "zoho_gateway_"]);
}

#[test]
fn only_main_ends_the_process() {
    happens_only_in("main.rs", &["process::exit", "process::abort", "ExitCode::from"]);
}

#[test]
fn source_and_documentation_use_plain_words() {
    let root = source().join("..");
    let docs = fs::read_dir(root.join("docs")).expect("docs/").map(|entry| entry.expect("a readable entry").path());
    // The catalogue has Zoho's words.
    let is_own = |path: &PathBuf| path.extension().is_some_and(|end| end == "md") && !path.ends_with("catalogue.md");
    let pages = docs.filter(is_own);
    let pages = pages.chain([root.join("README.md"), root.join("ARCHITECTURE.md")]);
    let mut wrong = Vec::new();
    for file in files(&source()).into_iter().chain(pages) {
        let text = fs::read_to_string(&file).expect("a readable file");
        for (number, line) in text.lines().enumerate() {
            // "No longer" is plain English.
            let line = line.to_lowercase().replace("no longer", "");
            for words in UNCLEAR_WORDS.iter().filter(|words| contains_words(&line, words)) {
                wrong.push(format!("{}:{}: {words:?} in {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Checks that every occurrence of `what` is in the file or folder `place`.
fn happens_only_in(place: &str, what: &[&str]) {
    let mut seen = false;
    let mut wrong = Vec::new();
    for file in files(&source()) {
        let inside = file.strip_prefix(source()).expect("below src").starts_with(place);
        for (number, line) in code(&file).lines().enumerate() {
            let found = what.iter().any(|what| line.contains(what));
            seen |= found && inside;
            if found && !inside {
                wrong.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "only {place} may do this:\n{}", wrong.join("\n"));
    assert!(seen, "{place} contains none of {what:?}: correct this test");
}

/// Whether a line contains these words, not as a part of longer ones.
fn contains_words(line: &str, words: &str) -> bool {
    line.match_indices(words).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + words.len()..]);
        !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric)
    })
}

fn mentions() -> Vec<Mention> {
    let mut mentions = Vec::new();
    for file in files(&source()) {
        let inside = file.strip_prefix(source()).expect("below src");
        let parts: Vec<_> =
            inside.iter().map(|part| part.to_string_lossy().trim_end_matches(".rs").to_owned()).collect();
        let from = module(&parts.iter().map(String::as_str).collect::<Vec<_>>());
        let code = code(&file);
        for (at, _) in code.match_indices("crate::") {
            let line = code[..at].lines().count().max(1);
            for to in names(&code[at + "crate::".len()..]) {
                if to != from {
                    mentions.push(Mention { file: file.clone(), line, from: from.clone(), to });
                }
            }
        }
    }
    assert!(mentions.len() > 100, "the imports were found");
    mentions
}

/// The name of a module on the levels, by the segments of its path.
fn module(parts: &[&str]) -> String {
    match parts {
        [folder, part, ..]
            if SPLIT.contains(folder) && *part != "mod" && part.starts_with(|c: char| c.is_lowercase()) =>
        {
            format!("{folder}::{part}")
        }
        [first, ..] => (*first).to_owned(),
        [] => String::new(),
    }
}

/// The modules in a path after `crate::`: `a::B` has `a`, `{a::{B, C}, d}` has `a` and `d`.
fn names(path: &str) -> Vec<String> {
    let mut leaves = Vec::new();
    expand(path, "", &mut leaves);
    leaves.iter().map(|leaf| module(&leaf.split("::").collect::<Vec<_>>())).collect()
}

/// The full paths in a tree of imports. Returns the text after the tree.
fn expand<'a>(tree: &'a str, before: &str, leaves: &mut Vec<String>) -> &'a str {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = tree.find(|c| !is_part(c)).unwrap_or(tree.len());
    let path = format!("{before}{}", &tree[..end]);
    let mut rest = &tree[end..];
    let Some(list) = rest.strip_prefix('{') else {
        leaves.push(path);
        return rest;
    };
    rest = list.trim_start();
    while !rest.is_empty() && !rest.starts_with('}') {
        rest = expand(rest, &path, leaves);
        rest = rest.trim_start_matches(|c: char| c != ',' && c != '}').trim_start_matches(',').trim_start();
    }
    rest.strip_prefix('}').unwrap_or_default()
}

/// A file's code with unchanged line numbers, without comments, imports for links in the documentation, and tests.
pub(crate) fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a readable file");
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut for_links = false;
    let mut code = String::new();
    for line in text.lines() {
        for_links |= line.trim() == "#[cfg(doc)]";
        if !for_links {
            code.push_str(line.split("//").next().unwrap_or_default());
        }
        for_links &= !line.ends_with(';');
        code.push('\n');
    }
    code
}

/// The source files below `folder`, without test files.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub(crate) fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
