//! The last requests, as received.

use std::{collections::VecDeque, time::Duration};

use serde::Serialize;

use super::request::Arrival;

/// How many requests are kept.
const MOST_RECORDS: usize = 5000;

/// How many bytes of bodies are kept, so that five thousand large ones do not fill the memory.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The last People and Calendar requests, oldest first.
#[derive(Default)]
pub(super) struct Records {
    records: VecDeque<Record>,
    bytes: usize,
}

/// One request, with its credential: that is simulated, and a test may need it.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    /// Time since the sandbox started.
    at_ms: u64,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    #[serde(flatten)]
    body: Body,
}

#[derive(Debug, Serialize)]
enum Body {
    #[serde(rename = "body")]
    Text(String),
    #[serde(rename = "body_hex")]
    Hex(String),
}

impl Records {
    /// Keeps a request, received when the sandbox was `age` old.
    pub(super) fn keep(&mut self, age: Duration, arrival: &Arrival) {
        let record = Record::new(age, arrival);
        self.bytes += record.body.len();
        self.records.push_back(record);
        while self.records.len() > MOST_RECORDS || self.bytes > MOST_BYTES {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= oldest.body.len();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Record {
    fn new(age: Duration, arrival: &Arrival) -> Self {
        let headers = arrival.headers.iter();
        Self {
            at_ms: age.as_millis() as u64,
            method: arrival.method.to_string(),
            target: arrival.target.clone(),
            headers: headers
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            // An unreadable body is recorded as an empty one.
            body: Body::new(arrival.body.as_deref().unwrap_or_default()),
        }
    }
}

impl Body {
    fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Hex(text) => text.len(),
        }
    }
}
