//! The map in ARCHITECTURE.md, held true: imports go down only, and some things happen in one place only.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The levels of the source, from the top down. A module imports from lower levels only; modules of one level do not know
/// each other. The parts of [`SPLIT`] are modules of their own.
const LEVELS: &[&[&str]] = &[
    &["cli"],
    &["app"],
    // What builds the path, and what answers beside it.
    &["app::stack", "app::admin", "config"],
    // The layers: between them pass the types of `call`, and nothing else.
    &[
        "middleware::edge",
        "middleware::browser_guard",
        "middleware::caller",
        "middleware::route",
        "middleware::validate",
        "middleware::dry_run",
        "middleware::cache",
        "middleware::audit",
        "middleware::retry",
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
    &["zoho"],
    &["message"],
    &["secret"],
    &["os"],
];

/// The folders whose parts stand on levels of their own.
const SPLIT: [&str; 2] = ["app", "middleware"];

/// It judges the gateway, so it shares nothing with it but the clock.
const SANDBOX: &str = "sandbox";

/// A mention of a module by `crate::`.
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
    assert!(entries <= 18, "{entries} entries under src/: a newcomer looks at each");
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
    happens_only_in("telemetry/metrics.rs", &["prometheus_client", "zoho_gateway_"]);
}

#[test]
fn nothing_but_main_ends_the_process() {
    happens_only_in("main.rs", &["process::exit", "process::abort", "ExitCode::from"]);
}

/// Holds every mention of `what` to the file or folder `place`.
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
    assert!(seen, "{place} does none of {what:?} any more: mend this test");
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

/// The modules in what follows `crate::`: `a::B` has `a`, `{a::{B, C}, d}` has `a` and `d`.
fn names(path: &str) -> Vec<String> {
    let mut leaves = Vec::new();
    expand(path, "", &mut leaves);
    leaves.iter().map(|leaf| module(&leaf.split("::").collect::<Vec<_>>())).collect()
}

/// The paths in a tree of imports, each whole. Returns what follows the tree.
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

/// A file's code with its lines in place, but without comments, without imports for links in the documentation, and
/// without its tests.
fn code(file: &Path) -> String {
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

/// The source files below `folder`, test files left out.
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

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
