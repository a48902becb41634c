//! The documentation matches the program: names of problems, metrics and fields, links, and paths of source files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The problems of the shared interface, whatever else exists.
const PROMISED: [&str; 17] = [
    "account-unauthorised",
    "body-too-large",
    "caller-forbidden",
    "caller-limit",
    "caller-unauthenticated",
    "invalid-payload",
    "queue-full",
    "shutting-down",
    "state-unavailable",
    "threshold-locked",
    "threshold-saturated",
    "token-throttled",
    "unknown-account",
    "unknown-route",
    "upstream-invalid-response",
    "upstream-timeout",
    "upstream-unreachable",
];

#[test]
fn every_problem_is_documented_and_no_other() {
    let documented = named("docs/reference.md", "## Problems", 1);
    assert_eq!(documented, named("docs/calling.md", "## Errors", 2));
    let is_name = |text: &str| text.contains('-') && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase());
    let had: BTreeSet<_> = texts(&code("src/problem/table.rs")).filter(|text| is_name(text)).collect();
    assert_eq!(documented, had);
    let missing: Vec<_> = PROMISED.iter().filter(|name| !documented.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let documented = metrics();
    let code: String =
        ["mod.rs", "live.rs", "process.rs"].map(|file| code(&format!("src/telemetry/metrics/{file}"))).concat();
    let names: BTreeSet<_> = texts(&code).collect();
    for name in &documented {
        // OpenMetrics adds the unit and the end of a counter's name.
        let ends = ["_total", "_seconds", "_bytes", "_info"];
        let stem = ends.iter().fold(name.as_str(), |name, end| name.strip_suffix(end).unwrap_or(name));
        let stem = stem.strip_prefix("zoho_gateway_").or(stem.strip_prefix("process_"));
        assert!(stem.is_some_and(|stem| names.contains(stem)), "{name}");
    }
    assert_eq!(documented.len(), code.matches("registry.register").count(), "{documented:#?}");
}

/// The names on the page of metrics.
pub(crate) fn metrics() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("docs/metrics.md")).expect("a page");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

#[test]
fn every_removed_field_is_documented_and_no_other() {
    let documented = named("docs/reference.md", "## Fields that end here", 2);
    // Their owners are written with capitals.
    let is_field = |text: &String| !text.chars().any(char::is_uppercase);
    let had: BTreeSet<_> = texts(&code("src/middleware/forward/tracing_fields.rs")).filter(is_field).collect();
    assert!(had.len() > 100, "{had:?}");
    assert_eq!(documented, had);
}

#[test]
fn every_link_has_a_target() {
    let mut wrong = Vec::new();
    for page in pages(&["docs", "docs/decisions"]) {
        let text = fs::read_to_string(&page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
            let found = fs::exists(&file).is_ok_and(|found| found)
                && (anchor.is_empty() || fs::read_to_string(&file).is_ok_and(|text| anchors(&text).contains(anchor)));
            if !found {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Decisions are left out: an old one may name files of its time.
#[test]
fn every_source_path_in_a_page_exists() {
    let is_path = |span: &&str| {
        ["src/", "tests/", "config/"].iter().any(|start| span.starts_with(start)) && !span.contains(char::is_whitespace)
    };
    let mut wrong = Vec::new();
    for page in pages(&["docs"]) {
        let text = fs::read_to_string(&page).expect("a page");
        for path in text.split('`').skip(1).step_by(2).filter(is_path) {
            if !fs::exists(root().join(path)).is_ok_and(|found| found) {
                wrong.push(format!("{}: {path}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The pages at the root and in these folders.
fn pages(folders: &[&str]) -> Vec<PathBuf> {
    let top = ["README.md", "SECURITY.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"];
    let mut pages: Vec<_> = top.iter().map(|name| root().join(name)).collect();
    for folder in folders {
        let entries = fs::read_dir(root().join(folder)).expect("a folder of pages");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    pages
}

/// The names in a column of the tables under a heading.
fn named(page: &str, heading: &str, column: usize) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(page)).expect("a page");
    let section = text.split(&format!("\n{heading}\n")).nth(1).expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    // The first two lines of each table are its head.
    let cells =
        section.lines().filter(|line| line.starts_with('|')).skip(2).filter_map(|line| line.split('|').nth(column));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The headings in the form that links use.
pub(crate) fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' '));
    let named = |c: char| (c.is_alphanumeric() || " -_".contains(c)).then_some(if c == ' ' { '-' } else { c });
    headings.map(|heading| heading.to_lowercase().chars().filter_map(named).collect()).collect()
}

/// A source file without its tests.
fn code(file: &str) -> String {
    let text = fs::read_to_string(root().join(file)).expect("a source file");
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

/// The string literals in code without quotes inside of them.
fn texts(code: &str) -> impl Iterator<Item = String> {
    let lines: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    lines.replace("\\\"", "").split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
