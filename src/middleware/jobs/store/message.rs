//! What the script of the jobs takes and gives.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::{Change, Part, Row, Unavailable};
use crate::{
    middleware::jobs::{id::JobId, job::State},
    secret::hex,
};

/// What other gateways left, and what they did with the jobs of this one.
#[derive(Debug, Default)]
pub(in crate::middleware::jobs) struct Beat {
    pub(in crate::middleware::jobs) rows: Vec<Row>,
    pub(in crate::middleware::jobs) removed: Vec<JobId>,
    /// Calls that are to become jobs.
    pub(in crate::middleware::jobs) asked: Vec<JobId>,
    pub(in crate::middleware::jobs) epoch: Epoch,
}

/// While it is the same, this gateway was never silent for a lease, and the server has lost nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(in crate::middleware::jobs) struct Epoch {
    /// Since when other gateways have heard this one.
    pub(in crate::middleware::jobs) since: u64,
    /// How often the server has lost what was written last.
    pub(in crate::middleware::jobs) losses: u64,
}

/// Some jobs of all gateways.
#[derive(Debug, Default)]
pub(in crate::middleware::jobs) struct Listed {
    pub(in crate::middleware::jobs) rows: Vec<Row>,
    /// How many there are in each state, listed or not.
    pub(in crate::middleware::jobs) counts: BTreeMap<State, usize>,
}

/// What a list has.
#[derive(Debug, Clone, Copy)]
pub(in crate::middleware::jobs) struct Filter<'a> {
    /// `None`: all callers.
    pub(in crate::middleware::jobs) caller: Option<&'a str>,
    pub(in crate::middleware::jobs) state: Option<State>,
    pub(in crate::middleware::jobs) after: Option<JobId>,
    pub(in crate::middleware::jobs) limit: usize,
}

/// What became of an attempt to remove a job of another gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::middleware::jobs) enum Cancelled {
    Yes,
    Sent,
    Absent,
}

#[derive(Deserialize)]
pub(super) struct BeatReply {
    #[serde(default)]
    pub(super) rows: Vec<RowReply>,
    #[serde(default)]
    pub(super) removed: Vec<String>,
    #[serde(default)]
    pub(super) asked: Vec<String>,
    #[serde(flatten)]
    pub(super) epoch: Epoch,
}

#[derive(Deserialize)]
pub(super) struct ListReply {
    #[serde(default)]
    pub(super) rows: Vec<RowReply>,
    pub(super) counts: BTreeMap<String, usize>,
    /// There may be more after this one.
    pub(super) after: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RowReply {
    id: String,
    until: u64,
    record: String,
    request: Option<String>,
    reserved: bool,
    #[serde(default)]
    doubtful: bool,
}

impl RowReply {
    /// A text that is not base64 cannot be opened either.
    pub(super) fn of(self, account: &str) -> Option<Row> {
        let decoded = |text: String| STANDARD.decode(text).unwrap_or_default();
        Some(Row {
            id: self.id.parse().ok()?,
            account: account.to_owned(),
            until: self.until,
            record: decoded(self.record),
            request: self.request.map(decoded),
            reserved: self.reserved,
            doubtful: self.doubtful,
        })
    }
}

/// What the script takes for one change.
pub(super) fn arguments(Change { id, put }: &Change, number: u64) -> [String; 8] {
    let (id, number) = (id.to_string(), number.to_string());
    let part = |part: &Part| match part {
        Part::Unchanged => String::new(),
        Part::Set(bytes) => encoded(bytes),
        Part::Removed => "-".to_owned(),
    };
    match put {
        None => [id, number, "x".to_owned(), String::new(), String::new(), String::new(), String::new(), String::new()],
        Some(put) => [
            id,
            number,
            put.state.letter().to_owned(),
            put.until.to_string(),
            hashed(&[&put.caller]),
            encoded(&put.record),
            part(&put.request),
            part(&put.answer),
        ],
    }
}

pub(super) fn ids(texts: &[String]) -> Vec<JobId> {
    texts.iter().filter_map(|id| id.parse().ok()).collect()
}

pub(super) fn encoded(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Names of callers and keys are nobody's business on the server.
pub(super) fn hashed(parts: &[&str]) -> String {
    hex::lower(digest::digest(&digest::SHA256, parts.join("\n").as_bytes()).as_ref())
}

pub(super) fn parsed<T: serde::de::DeserializeOwned>(reply: &str) -> Result<T, Unavailable> {
    serde_json::from_str(reply).map_err(|error| {
        tracing::error!(%error, "Redis has something unexpected for jobs");
        Unavailable
    })
}
