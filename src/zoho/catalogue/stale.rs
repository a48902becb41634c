//! Which reads a write makes stale: `config/catalogue/stale.toml`.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{Catalogue, Route, RouteGlob};

/// The file as JSON; `build.rs` writes it.
const FILE: &str = include_str!(concat!(env!("OUT_DIR"), "/catalogue/stale.json"));

/// The reads that a write makes stale.
#[derive(Debug, Clone, Default)]
pub struct Stale {
    /// Their ids.
    pub reads: Vec<RouteGlob>,
    /// The part of the path that both have: a read whose path varies by it first is stale for the same value only.
    pub by: Option<String>,
}

/// The links between reads and writes, in the order in which they are looked at.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Links {
    link: Vec<Link>,
}

/// One row: writes, and the reads that show what they change.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    #[serde(deserialize_with = "globs")]
    writes: Vec<RouteGlob>,
    #[serde(deserialize_with = "globs")]
    stale: Vec<RouteGlob>,
    by: Option<String>,
}

impl Links {
    pub(super) fn parse() -> Result<Self, String> {
        serde_json::from_str(FILE).map_err(|error| error.to_string())
    }

    /// The first row that has a call.
    fn row_of(&self, route: &Route) -> Option<usize> {
        let id = route.id.as_str();
        self.link.iter().position(|link| link.writes.iter().any(|glob| glob.matches(id)))
    }
}

impl Link {
    fn stale(&self) -> Stale {
        Stale { reads: self.stale.clone(), by: self.by.clone() }
    }
}

fn globs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RouteGlob>, D::Error> {
    Vec::<String>::deserialize(deserializer)?.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

impl Catalogue {
    /// Sets the links of every route from the file.
    pub(super) fn link(&mut self, links: &Links) {
        // Many writes have the same row.
        let rows: Vec<Arc<Stale>> = links.link.iter().map(|link| Arc::new(link.stale())).collect();
        for route in self.iter_mut() {
            let row = links.row_of(route).map(|row| Arc::clone(&rows[row]));
            route.stale = row.unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stale(catalogue: &Catalogue, write: &str) -> Vec<String> {
        let globs = &catalogue.find(write).unwrap_or_else(|| panic!("{write}")).stale.reads;
        let read = |route: &&Route| route.reads && globs.iter().any(|glob| glob.matches(route.id.as_str()));
        catalogue.routes.iter().filter(read).map(|route| route.id.to_string()).collect()
    }

    #[test]
    fn every_row_names_calls_and_is_used() {
        let (catalogue, links) = (Catalogue::published().unwrap(), Links::parse().unwrap());
        for (row, link) in links.link.iter().enumerate() {
            for glob in link.writes.iter().chain(&link.stale) {
                assert!(catalogue.iter().any(|route| glob.matches(route.id.as_str())), "{glob} matches no call");
            }
            if let Some(by) = &link.by {
                let varies = |route: &Route| {
                    let is_stale = link.stale.iter().any(|glob| glob.matches(route.id.as_str()));
                    is_stale && route.main_variable() == Some(by)
                };
                assert!(catalogue.routes.iter().any(varies), "no read of {:?} varies by {by}", link.writes);
            }
            let used = |route: &Route| !route.reads && links.row_of(route) == Some(row);
            assert!(catalogue.iter().any(used), "no write uses {:?}", link.writes);
        }
    }

    #[test]
    fn every_write_has_a_row_and_every_read_a_write() {
        let catalogue = Catalogue::published().unwrap();
        for route in catalogue.iter().filter(|route| !route.reads) {
            assert!(!route.stale.reads.is_empty(), "{} has no row in stale.toml", route.id);
        }
        let changed = |read: &Route| {
            let stale = |write: &Route| write.stale.reads.iter().any(|glob| glob.matches(read.id.as_str()));
            catalogue.routes.iter().any(|write| !write.reads && stale(write))
        };
        let unchanged: Vec<_> = catalogue.routes.iter().filter(|route| route.reads && !changed(route)).collect();
        // No call that is known changes these.
        let ids: Vec<_> = unchanged.iter().map(|route| route.id.as_str()).collect();
        assert_eq!(ids, UNCHANGED);
    }

    const UNCHANGED: &[&str] = &[];

    #[test]
    fn a_write_reaches_reads_under_other_paths() {
        let catalogue = Catalogue::published().unwrap();
        for (write, read) in [
            ("people.forms.insert-record", "people.forms.get-records"),
            ("people.forms.update-record", "people.views.get-records-by-view"),
            ("people.leave.add-leave", "people.leave.get-booked-and-balance-report"),
            ("people.leave.cancel-leave", "people.v3-leave.get-leave-requests"),
            ("people.timesheet.add-time-logs", "people.timesheet.get-timesheets-details"),
            ("people.attendance.check-in", "people.v3-attendance.get-entries"),
            ("calendar.events.create-event", "calendar.free-busy.get-user-free-busy"),
            ("calendar.bookings.book-resource", "calendar.resources.get-resource-free-busy"),
            ("people.other.any-call", "people.lms.get-course"),
        ] {
            assert!(stale(&catalogue, write).iter().any(|id| id == read), "{write} {read}");
        }
        let shared = stale(&catalogue, "people.lms.share-course");
        assert!(!shared.iter().any(|id| id == "people.lms.get-modules"), "{shared:?}");
    }
}
