//! The name of a job.

use std::{fmt, str::FromStr, sync::Mutex, time::UNIX_EPOCH};

use uuid::{ContextV7, Timestamp, Uuid};

use crate::os::clock;

/// A counter for all ids, so that ids of the same millisecond differ and stay in order.
static SEQUENCE: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// The id of a job. Later jobs have greater ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Uuid);

impl JobId {
    pub(super) fn generate() -> Self {
        let now = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Uuid::new_v7(Timestamp::from_unix(&SEQUENCE, now.as_secs(), now.subsec_nanos())))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}
