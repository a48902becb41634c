//! `routes`: the catalogue in force.

use std::path::Path;

use serde_json::{Value, json};

use super::{Failure, load, print};
use crate::zoho::{
    catalogue::{Catalogue, Route},
    data_center::DataCenter,
};

pub(super) fn routes(config: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let catalogue = match config {
        Some(path) => load(path)?.catalogue,
        None => Catalogue::published().map_err(|error| Failure::Run(error.to_string()))?,
    };
    let text = if as_json {
        let routes: Vec<_> = catalogue.iter().map(object).collect();
        format!("{:#}\n", Value::Array(routes))
    } else {
        table(&catalogue)
    };
    Ok(print(&text)?)
}

const HEADINGS: [&str; 9] = ["ID", "METHOD", "HOST", "PATH", "THRESHOLD", "LOCK", "VALIDATION", "CACHE", "SCOPES"];

fn table(catalogue: &Catalogue) -> String {
    let rows: Vec<[String; 9]> =
        std::iter::once(HEADINGS.map(str::to_owned)).chain(catalogue.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..HEADINGS.len()).map(width).collect();
    let line = |row: &[String; 9]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// `30 per 1m, lock 5m`
pub(super) fn limit(route: &Route) -> String {
    route.threshold.map_or_else(
        || "off".to_owned(),
        |threshold| format!("{} per {}, lock {}", threshold.requests, span(threshold.window), span(threshold.lock)),
    )
}

fn row(route: &Route) -> [String; 9] {
    let threshold = route.threshold.map_or_else(
        || "off".to_owned(),
        |threshold| format!("{} per {} ({})", threshold.requests, span(threshold.window), route.trust.as_str()),
    );
    [
        route.id.to_string(),
        methods(route),
        route.product.host(DataCenter::Us).to_owned(),
        route.path.clone().unwrap_or_else(|| "any other".to_owned()),
        threshold,
        route.threshold.map_or_else(|| "-".to_owned(), |threshold| span(threshold.lock)),
        route.validation.as_str().to_owned(),
        span(route.cache),
        route.scopes.join(" or "),
    ]
}

pub(super) fn object(route: &Route) -> Value {
    let threshold =
        route.threshold.map(|threshold| json!({ "requests": threshold.requests, "window": span(threshold.window) }));
    json!({
        "id": route.id.as_str(),
        "method": methods(route),
        "host": route.product.host(DataCenter::Us),
        "path": route.path,
        "aliases": route.aliases,
        "reads": route.reads,
        "scopes": route.scopes,
        "threshold": threshold,
        "lock": route.threshold.map(|threshold| span(threshold.lock)),
        "validation": route.validation.as_str(),
        "cache": span(route.cache),
        "stale_if_error": span(route.stale_if_error),
        "trust": route.trust.as_str(),
        "source": route.source,
        "note": route.note,
    })
}

pub(super) fn methods(route: &Route) -> String {
    if route.methods.is_empty() {
        return "any".to_owned();
    }
    route.methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(",")
}

fn span(span: std::time::Duration) -> String {
    match (span.as_millis(), span.as_secs()) {
        (milliseconds, _) if milliseconds % 1000 != 0 => format!("{milliseconds}ms"),
        (_, seconds) if seconds % 60 == 0 && seconds > 0 => format!("{}m", seconds / 60),
        (_, seconds) => format!("{seconds}s"),
    }
}
