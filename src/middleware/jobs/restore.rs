//! The jobs that an earlier process left.

use std::{sync::Arc, time::Duration};

use super::{
    Jobs,
    job::{self, Answer, Ending, Job, Stage, State},
    kept::KeptRequest,
    seal::{self, Kind, Record},
    store::{Change, Part, Row},
};
use crate::{
    os::clock,
    zoho::{account::AccountName, catalogue::RouteId},
};

impl Jobs {
    /// Jobs that waited wait again, in their order. A job that was being sent is unknown, unless it may be repeated.
    pub(super) fn restore(&self, rows: Vec<Row>) {
        let (mut waiting, mut unknown, mut unreadable) = (0, 0, 0);
        for row in rows {
            if row.until < job::now() / 1000 {
                self.store.write_later(Change { id: row.id, put: None });
                continue;
            }
            let Some(job) = self.restored(&row) else {
                unreadable += 1;
                continue;
            };
            match job.stage() {
                Stage::Queued => {
                    waiting += 1;
                    // The receiver lives as long as the jobs.
                    let _ = self.starts.send(job);
                }
                Stage::Ended(Ending { answer: Answer::Missing, .. }) => unknown += 1,
                _ => {}
            }
        }
        if waiting + unknown > 0 {
            tracing::info!(waiting, unknown, "jobs of an earlier process are taken over");
        }
        if unreadable > 0 {
            tracing::error!(
                unreadable,
                "jobs cannot be read: their account was removed, or its client_secret changed; they stay where they are, and \
                 are sent if the old value is restored in time"
            );
        }
    }

    fn restored(&self, row: &Row) -> Option<Arc<Job>> {
        let known = self.deps.known.read();
        let account = known.accounts.get(&AccountName::new(&row.account))?;
        let record = seal::open(account, row.id, Kind::Record, &row.record)?;
        let Record { facts, asked, sending, ending } = serde_json::from_slice(&record).ok()?;
        let route = known.routes.get(&RouteId::new(&facts.route)).cloned();
        let request = row.request.as_ref().and_then(|sealed| seal::open(account, row.id, Kind::Request, sealed));
        let request = request.and_then(KeptRequest::from_bytes).map(Arc::new).filter(|_| ending.is_none());
        let deadline = clock::now() + left(facts.created, self.settings.max_wait);
        let (is_new_end, stage) = match ending {
            Some(ending) => (false, Stage::Ended(ending)),
            None if request.is_some() && (!(sending || row.doubtful) || facts.repeatable) => (false, Stage::Queued),
            None => (true, Stage::Ended(unanswered())),
        };
        let mut held = self.budget.hold();
        held.set(request.as_ref().map_or(0, |request| request.size()));
        let job = Job::new(row.id, facts, (Arc::clone(account), route), deadline, asked, stage, (request, held));
        job.is_now_kept();
        if let Stage::Ended(ending) = job.stage() {
            if is_new_end {
                let change = self.change(&job, true, Some(ending.clone()), Part::Removed, Part::Unchanged);
                self.store.write_later(change);
            }
            job.parts.lock().held.set(ending.size);
            self.index.lock().ends(job.id, clock::now() + left(ending.at, self.settings.keep));
        }
        self.index.lock().insert(&job);
        Some(job)
    }
}

/// The end of a job whose process died while sending.
fn unanswered() -> Ending {
    Ending { state: State::Unknown, status: None, answer: Answer::Missing, at: job::now(), size: 0, refusal: None }
}

/// What is left of a span that began at this moment. A clock that was set makes it no longer than it is.
fn left(began: u64, span: Duration) -> Duration {
    match job::now().checked_sub(began) {
        Some(passed) => span.saturating_sub(Duration::from_millis(passed)),
        None => span,
    }
}
