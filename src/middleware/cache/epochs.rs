//! Which stored answers a write has made stale.
//!
//! A write that Zoho may have executed raises the epochs of its path and of the calls that it makes stale (`stale.toml` of
//! the catalogue) when it ends. An answer is used only in the epochs of its path and its call in which it began. So no answer from before the write's end is used after it, whether it was stored or still on the
//! way. A write that was never sent, or that Zoho rejected unexecuted, changes nothing ([`AttemptLog`]). Paths share a fixed
//! number of epochs by hash, which bounds the memory; if two paths share an epoch, a write to one also discards the answers
//! of the other.

use std::{borrow::Cow, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use crate::{
    call::Call,
    os::clock,
    zoho::catalogue::{Route, RouteId},
};

/// So many that two paths rarely share an epoch; 128 KiB.
const EPOCHS: usize = 4096;

/// For how long Zoho may still execute a write without an answer. Zoho's slowest calls take tens of seconds.
const UNCERTAIN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(super) struct Epochs(Arc<[Mutex<Epoch>]>);

/// What a call reads or writes, as a hash that is the same in all gateways: a path, or all paths of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resource(pub(super) u64);

/// What a read depends on: its path, its call, and its call with the first part of the path that varies, such as the course.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read([Resource; 3]);

/// The epochs of what a read depends on.
pub(super) type ReadEpoch = [u64; 3];

/// A write has made the answers of a resource stale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Invalidation {
    pub(super) resource: Resource,
    /// Zoho may still execute the write.
    pub(super) uncertain: bool,
}

#[derive(Debug, Default)]
struct Epoch {
    number: u64,
    /// When the epoch ends by itself: a write of unknown outcome is certainly done then.
    ends: Option<Instant>,
}

impl Epoch {
    fn now(&mut self) -> u64 {
        if self.ends.is_some_and(|end| end <= clock::now()) {
            self.ends = None;
            self.number += 1;
        }
        self.number
    }

    fn written(&mut self, uncertain: bool) {
        self.number += 1;
        if uncertain {
            self.ends = Some(clock::now() + UNCERTAIN);
        }
    }
}

impl Epochs {
    pub(super) fn new() -> Self {
        Self((0..EPOCHS).map(|_| Mutex::default()).collect())
    }

    /// The present epochs.
    pub(super) fn now(&self, Read(resources): Read) -> ReadEpoch {
        resources.map(|resource| self.epoch(resource).lock().now())
    }

    /// Whether an answer of these epochs may be stored: no write has ended since, and none of unknown outcome may still run.
    pub(super) fn may_store(&self, Read(resources): Read, numbers: ReadEpoch) -> bool {
        resources.into_iter().zip(numbers).all(|(resource, number)| {
            let mut epoch = self.epoch(resource).lock();
            epoch.now() == number && epoch.ends.is_none()
        })
    }

    /// A write ended. `uncertain`: Zoho may still execute it.
    pub(super) fn written(&self, Invalidation { resource, uncertain }: Invalidation) {
        self.epoch(resource).lock().written(uncertain);
    }

    /// Any resource may have been written.
    pub(super) fn all_written(&self, uncertain: bool) {
        self.0.iter().for_each(|epoch| epoch.lock().written(uncertain));
    }

    fn epoch(&self, Resource(hash): Resource) -> &Mutex<Epoch> {
        // The remainder is below the number of epochs.
        &self.0[(hash % EPOCHS as u64) as usize]
    }
}

impl Read {
    /// The path and the call of a read.
    pub(super) fn of(call: &Call) -> Self {
        let id = call.context.route.id.as_str();
        let (path, route) = (decoded(call), &call.context.route);
        let main = route.main_variable().and_then(|name| Some(part(id, name, route.variable(&path, name)?)));
        let part = main.unwrap_or_else(|| id.to_owned());
        Self([Resource::path(call), Resource::named(call, id), Resource::named(call, &part)])
    }
}

impl Resource {
    /// The call's server and decoded path. Query, login, spelling and the choice of a product's root do not matter.
    pub(super) fn path(call: &Call) -> Self {
        Self::named(call, call.context.route.product.below_first_root(&decoded(call)))
    }

    /// What this write changes of a read on its server: the paths with the part that both have, or all of them.
    pub(super) fn of_read(write: &Call, read: &LinkedRead) -> Self {
        let by = write.context.route.stale.by.as_deref().filter(|by| read.varies_by.as_deref() == Some(by));
        let path = decoded(write);
        match by.and_then(|by| Some((by, write.context.route.variable(&path, by)?))) {
            Some((by, value)) => Self::named(write, &part(read.id.as_str(), by, value)),
            // No path begins like an id.
            None => Self::named(write, read.id.as_str()),
        }
    }

    fn named(call: &Call, name: &str) -> Self {
        let context = &call.context;
        let server = context.account.endpoints.product(context.route.product).authority().as_str();
        let first = digest(&SHA256, [server, name].join("\n").as_bytes()).as_ref().first_chunk().copied();
        Self(u64::from_be_bytes(first.unwrap_or_default()))
    }
}

/// A read whose answers may be stored.
#[derive(Debug, Clone)]
pub struct LinkedRead {
    pub(super) id: RouteId,
    /// The first part of its path that varies.
    varies_by: Option<String>,
}

impl From<&Route> for LinkedRead {
    fn from(route: &Route) -> Self {
        Self { id: route.id.clone(), varies_by: route.main_variable().map(str::to_owned) }
    }
}

/// The path without escapes. The route layer rejects paths that are not UTF-8.
fn decoded(call: &Call) -> Cow<'_, str> {
    percent_decode_str(call.target.path().trim_end_matches('/')).decode_utf8_lossy()
}

/// A call with one part of its path.
fn part(id: &str, name: &str, value: &str) -> String {
    format!("{id} {name}={value}")
}
