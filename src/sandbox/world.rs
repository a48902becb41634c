//! The state of a sandbox, behind one lock.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    calendar::Share, codes::Codes, login::Login, meters::Meters, people::Employees, random::Random, records::Records,
    settings::Settings, tokens::Tokens,
};
use crate::os::clock;

/// One simulated Zoho: its settings and its state.
pub(super) struct Sandbox {
    pub(super) settings: Settings,
    began: Instant,
    /// A std mutex, because every use is a few lines without `.await`; one for all, because a call touches most of it.
    world: Mutex<World>,
}

/// The state of the sandbox.
pub(super) struct World {
    pub(super) tokens: Tokens,
    pub(super) codes: Codes,
    pub(super) meters: Meters,
    pub(super) records: Records,
    pub(super) employees: Employees,
    /// The record numbers that each course is shared with, in the order of sharing.
    pub(super) courses: Lists<String>,
    /// The shares of each calendar.
    pub(super) calendars: Lists<Share>,
    pub(super) random: Random,
}

/// Lists by login and by the id in the path; a list that was never written is empty.
pub(super) struct Lists<T>(HashMap<(Login, String), Vec<T>>);

impl Sandbox {
    pub(super) fn new(settings: Settings) -> Self {
        let world = World {
            tokens: Tokens::new(settings.token_requests),
            codes: Codes::default(),
            meters: Meters::new(settings.rule()),
            records: Records::default(),
            employees: Employees::default(),
            courses: Lists(HashMap::new()),
            calendars: Lists(HashMap::new()),
            random: Random::seeded(),
        };
        Self { settings, began: clock::now(), world: Mutex::new(world) }
    }

    /// The state, for a few lines. A panic elsewhere left it no worse than a refused call would.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time since the sandbox started.
    pub(super) fn age(&self) -> Duration {
        clock::now().duration_since(self.began)
    }

    /// Waits for a random time up to the configured delay.
    pub(super) async fn delay(&self) {
        if self.settings.delay.is_zero() {
            return;
        }
        let delay = self.world().random.up_to(self.settings.delay);
        tokio::time::sleep(delay).await;
    }
}

impl<T> Lists<T> {
    pub(super) fn of(&mut self, login: &Login, id: &str) -> &mut Vec<T> {
        self.0.entry((login.clone(), id.to_owned())).or_default()
    }
}
