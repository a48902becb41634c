//! An upstream that judges the gateway: it counts arrivals by itself, with its own clock.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use zoho_gateway::os::clock;

use super::{Reply, Upstream};

/// How long a call that was sent before a change may take to the upstream.
const ON_ITS_WAY: Duration = Duration::from_millis(200);

/// An upstream that counts by itself: when calls of the throttled route arrived.
pub(crate) struct Judge {
    pub(crate) upstream: Upstream,
    arrivals: Arc<Mutex<Vec<Instant>>>,
}

/// At most `requests` in any `window`, from one moment to another.
pub(crate) struct Rule {
    pub(crate) requests: usize,
    pub(crate) window: Duration,
    pub(crate) from: Instant,
}

impl Judge {
    pub(crate) async fn start() -> Self {
        let arrivals = Arc::<Mutex<Vec<Instant>>>::default();
        let seen = Arc::clone(&arrivals);
        let upstream = Upstream::start(move |request| {
            if request.line.starts_with("PUT") {
                seen.lock().expect("no panic").push(clock::now().into_std());
            }
            Reply::json(200, "{}")
        });
        Self { upstream: upstream.await, arrivals }
    }

    /// Each arrival is judged by the rule of its moment, together with the arrivals before, whatever their rule was.
    pub(crate) fn check(&self, rules: &[Rule]) {
        let arrivals = self.arrivals.lock().expect("no panic");
        for (number, rule) in rules.iter().enumerate() {
            let until = rules.get(number + 1).map(|next| next.from);
            let mut most = 0;
            for (last, at) in arrivals.iter().enumerate() {
                if *at < rule.from + ON_ITS_WAY || until.is_some_and(|until| *at >= until) {
                    continue;
                }
                let inside = arrivals[..=last].iter().filter(|other| **other + rule.window > *at).count();
                most = most.max(inside);
            }
            println!("rule {number}: {most} of {} in {:?}", rule.requests, rule.window);
            assert!(most <= rule.requests, "rule {number}: {most} of {} in {:?}", rule.requests, rule.window);
        }
    }
}
