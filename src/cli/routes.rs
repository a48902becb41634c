//! `routes`: the catalogue in force.

#[cfg(test)]
mod catalogue_page;

use std::path::Path;

use serde_json::{Value, json};

use super::{Failure, load, print};
use crate::zoho::{
    account::Account,
    catalogue::{Catalogue, Route, Threshold},
    data_center::DataCenter,
};

pub(super) fn routes(config: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let (catalogue, accounts) = match config {
        Some(path) => {
            let config = load(path)?;
            (config.catalogue, config.accounts)
        }
        None => (Catalogue::published().map_err(|error| Failure::Run(error.to_string()))?, Vec::new()),
    };
    let text = if as_json {
        let routes: Vec<_> = catalogue.iter().map(|route| object(route, &accounts)).collect();
        format!("{:#}\n", Value::Array(routes))
    } else {
        table(&catalogue, &accounts)
    };
    Ok(print(&text)?)
}

/// The accounts of which this gateway uses a share.
pub(super) fn shared(accounts: &[Account]) -> impl Iterator<Item = &Account> {
    accounts.iter().filter(|account| !account.share.is_whole())
}

fn table(catalogue: &Catalogue, accounts: &[Account]) -> String {
    let rows: Vec<Vec<String>> =
        std::iter::once(headings(accounts)).chain(catalogue.iter().map(|route| row(route, accounts))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// `30 per 1m, lock 5m`
pub(super) fn limit(route: &Route) -> String {
    match route.threshold {
        Some(threshold) => format!("{}, lock {}", rates(route), span(threshold.lock)),
        None => rate(None),
    }
}

/// `10 per 1m, 100 per 1h`: all limits of the call.
fn rates(route: &Route) -> String {
    let further = route.further_limits.iter().map(|limit| Some(*limit));
    let all: Vec<_> = [route.threshold].into_iter().chain(further).map(rate).collect();
    all.join(", ")
}

/// `30 per 1m`
pub(super) fn rate(threshold: Option<Threshold>) -> String {
    threshold
        .map_or_else(|| "off".to_owned(), |threshold| format!("{} per {}", threshold.requests, span(threshold.window)))
}

/// The threshold of an account with a share has its own column.
fn headings(accounts: &[Account]) -> Vec<String> {
    let shares = shared(accounts).map(|account| format!("{} OF {}", account.share, account.name));
    let before = ["ID", "METHOD", "HOST", "PATH", "THRESHOLD"].map(str::to_owned);
    let after = ["LOCK", "VALIDATION", "CACHE", "SCOPES"].map(str::to_owned);
    before.into_iter().chain(shares).chain(after).collect()
}

fn row(route: &Route, accounts: &[Account]) -> Vec<String> {
    let read = route.read.map(|date| format!(", {date}")).unwrap_or_default();
    let trust = route.threshold.map(|_| format!(" ({}{read})", route.trust.as_str()));
    let before = [
        route.id.to_string(),
        methods(route),
        route.product.host(DataCenter::Us).to_owned(),
        route.path.clone().unwrap_or_else(|| "any other".to_owned()),
        rates(route) + &trust.unwrap_or_default(),
    ];
    let shares = shared(accounts).map(|account| rate(account.threshold(route)));
    let after = [
        route.threshold.map_or_else(|| "-".to_owned(), |threshold| span(threshold.lock)),
        route.validation.as_str().to_owned(),
        span(route.cache),
        route.scopes.join(" or "),
    ];
    before.into_iter().chain(shares).chain(after).collect()
}

pub(super) fn object(route: &Route, accounts: &[Account]) -> Value {
    let threshold = |threshold: Threshold| json!({ "requests": threshold.requests, "window": span(threshold.window) });
    let share = |account: &Account| {
        let of_share = account.threshold(route).map(threshold);
        (account.name.to_string(), json!({ "share": account.share.to_string(), "threshold": of_share }))
    };
    let shares: serde_json::Map<_, _> = shared(accounts).map(share).collect();
    json!({
        "id": route.id.as_str(),
        "method": methods(route),
        "host": route.product.host(DataCenter::Us),
        "path": route.path,
        "aliases": route.aliases,
        "reads": route.reads,
        "stale": route.stale.reads.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "scopes": route.scopes,
        "threshold": route.threshold.map(threshold),
        "further_limits": route.further_limits.iter().copied().map(threshold).collect::<Vec<_>>(),
        "shares": shares,
        "lock": route.threshold.map(|threshold| span(threshold.lock)),
        "validation": route.validation.as_str(),
        "cache": span(route.cache),
        "merge": route.merge.as_ref().map(|merge| json!({ "parameter": merge.parameter, "max": merge.max })),
        "stale_if_error": span(route.stale_if_error),
        "trust": route.trust.as_str(),
        "source": route.source,
        "read": route.read.map(|date| date.to_string()),
        "unchecked": route.unchecked,
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
        (_, seconds) if seconds % 3600 == 0 && seconds > 0 => format!("{}h", seconds / 3600),
        (_, seconds) if seconds % 60 == 0 && seconds > 0 => format!("{}m", seconds / 60),
        (_, seconds) => format!("{seconds}s"),
    }
}
