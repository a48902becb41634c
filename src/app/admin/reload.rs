//! `/reload`: asks for a reload of the configuration, and tells how the last one ended.

use std::sync::Arc;

use http::{Response, StatusCode, Uri};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{Admin, actions::record, json_answer};
use crate::message::body::Body;

/// How many reloads may be asked for while one runs. They run one after the other.
const ASKED: usize = 16;

/// Who asked for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// The file has changed.
    File,
    /// POST /reload.
    Request,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The configuration is in force, apart from the keys that need a restart.
    Applied,
    /// It has errors, and nothing has changed.
    Refused,
}

/// A reload and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// When it ended, as RFC 3339.
    pub at: String,
    /// Who asked for it.
    pub trigger: Trigger,
    /// How it ended.
    pub outcome: Outcome,
    /// The keys that were added, removed or changed since the configuration before.
    pub changed: Vec<String>,
    /// The keys that differ from those at the start and need a restart.
    pub needs_restart: Vec<String>,
    /// Why it was refused: each mistake with file, line and key.
    pub errors: Vec<String>,
}

/// A wish for a reload, and where its report goes.
#[derive(Debug)]
pub struct Wish {
    /// Who asks.
    pub trigger: Trigger,
    /// Gets the report.
    pub report: oneshot::Sender<ReloadReport>,
}

/// Asks for reloads. Clones share the last report.
#[derive(Debug, Clone)]
pub struct Reloads {
    wishes: mpsc::Sender<Wish>,
    last: Arc<Mutex<Option<ReloadReport>>>,
}

impl Reloads {
    /// Also returns the wishes, for the one that reloads.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Wish>) {
        let (wishes, received) = mpsc::channel(ASKED);
        (Self { wishes, last: Arc::default() }, received)
    }

    /// Reloads the configuration. `None` if the gateway ends.
    pub async fn ask(&self, trigger: Trigger) -> Option<ReloadReport> {
        let (report, reported) = oneshot::channel();
        self.wishes.send(Wish { trigger, report }).await.ok()?;
        reported.await.ok()
    }

    /// How the last reload ended, if there was one.
    #[must_use]
    pub fn last(&self) -> Option<ReloadReport> {
        self.last.lock().clone()
    }

    /// A reload has ended.
    pub fn ended(&self, report: ReloadReport) {
        *self.last.lock() = Some(report);
    }
}

impl Admin {
    /// Reloads the configuration because this operator asks for it.
    pub(super) async fn reload(&self, operator: &str, uri: &Uri) -> Response<Body> {
        let report = self.reloads.ask(Trigger::Request).await;
        let is_applied = report.as_ref().is_some_and(|report| report.outcome == Outcome::Applied);
        record(operator, "reload", uri, (is_applied, if is_applied { "applied" } else { "refused" })).await;
        match report {
            Some(report) if report.outcome == Outcome::Refused => {
                json_answer(StatusCode::UNPROCESSABLE_ENTITY, &report)
            }
            Some(report) => json_answer(StatusCode::OK, &report),
            None => super::text(StatusCode::SERVICE_UNAVAILABLE, "the gateway ends\n"),
        }
    }
}
