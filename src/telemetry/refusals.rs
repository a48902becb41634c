//! The last answers that the gateway made itself instead of Zoho, for operators.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::os::clock;

/// How many are kept.
const KEPT: usize = 32;

/// How much of a detail is kept, in characters: some repeat a long path.
const LONGEST_DETAIL: usize = 300;

/// The last refusals, of all callers.
#[derive(Debug, Default)]
pub struct RecentRefusals(Mutex<VecDeque<(Instant, RecentRefusal)>>);

/// A call that got an answer of the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecentRefusal {
    /// When it was answered. [`RecentRefusals::recent`] sets it.
    pub seconds_ago: f64,
    /// Its id in logs and answers.
    pub request_id: String,
    /// Its method.
    pub method: String,
    /// Who made it, if that is known.
    pub caller: Option<String>,
    /// Its account, if that is known.
    pub account: Option<String>,
    /// Its route, if that is known.
    pub route: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// The name of the problem.
    pub problem: String,
    /// Its detail, without anything of the payload.
    pub detail: String,
}

impl RecentRefusals {
    /// Adds the newest.
    pub fn add(&self, mut refusal: RecentRefusal) {
        if let Some((end, _)) = refusal.detail.char_indices().nth(LONGEST_DETAIL) {
            refusal.detail.truncate(end);
            refusal.detail.push('…');
        }
        let mut kept = self.0.lock();
        kept.truncate(KEPT - 1);
        kept.push_front((clock::now(), refusal));
    }

    /// The newest first.
    #[must_use]
    pub fn recent(&self) -> Vec<RecentRefusal> {
        let now = clock::now();
        let recent = |(at, refusal): &(Instant, RecentRefusal)| RecentRefusal {
            seconds_ago: now.saturating_duration_since(*at).as_secs_f64(),
            ..refusal.clone()
        };
        self.0.lock().iter().map(recent).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(id: usize, detail: &str) -> RecentRefusal {
        RecentRefusal {
            seconds_ago: 0.0,
            request_id: id.to_string(),
            method: "GET".to_owned(),
            caller: None,
            account: None,
            route: None,
            status: 404,
            problem: "unknown-route".to_owned(),
            detail: detail.to_owned(),
        }
    }

    #[test]
    fn the_last_ones_are_kept_newest_first() {
        let refusals = RecentRefusals::default();
        (0..100).for_each(|id| refusals.add(refusal(id, "")));
        let kept: Vec<_> = refusals.recent().into_iter().map(|refusal| refusal.request_id).collect();
        let expected: Vec<_> = (100 - KEPT..100).rev().map(|id| id.to_string()).collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let refusals = RecentRefusals::default();
        refusals.add(refusal(0, &"é".repeat(1000)));
        assert_eq!(refusals.recent()[0].detail.chars().count(), LONGEST_DETAIL + 1);
    }
}
