//! Which part of Zoho a path belongs to, and which API is counted for it.

use http::Method;

/// Who answers a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The sandbox itself.
    Control,
    /// Zoho Accounts.
    Accounts,
    /// People or Calendar.
    Product(Product),
}

/// The two products whose calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    People,
    Calendar,
}

/// What is counted: a method and a path template, whatever the id in the path says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Api {
    ShareCourse,
    SharedUsers,
    RemoveShare,
    PeopleOther,
    ShareCalendar,
    CalendarShares,
    CalendarOther,
}

/// What stands after `/api/v1/` in every documented path of Calendar, and in none of People.
const CALENDAR_ROOTS: [&str; 7] =
    ["calendars", "events", "groups", "notification", "resources", "settings", "smartadd"];

impl Part {
    /// Tells by the decoded segments of the path. In reality three hosts tell them apart; here People takes what is
    /// left, having by far the most paths.
    pub(super) fn of(segments: &[String]) -> Self {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["__sandbox", ..] => Self::Control,
            ["oauth", ..] => Self::Accounts,
            ["api", "v1", root, ..] if CALENDAR_ROOTS.contains(root) => Self::Product(Product::Calendar),
            _ => Self::Product(Product::People),
        }
    }
}

impl Api {
    pub(super) const ALL: [Self; 7] = [
        Self::ShareCourse,
        Self::SharedUsers,
        Self::RemoveShare,
        Self::PeopleOther,
        Self::ShareCalendar,
        Self::CalendarShares,
        Self::CalendarOther,
    ];

    /// Looks at decoded segments, so that no spelling of a path escapes its count.
    pub(super) fn of(product: Product, method: &Method, segments: &[String]) -> Self {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (product, method.as_str(), segments.as_slice()) {
            (Product::People, "PUT", ["api", "v1", "courses", _, "share"]) => Self::ShareCourse,
            (Product::People, "GET", ["api", "v1", "courses", _, "share"]) => Self::SharedUsers,
            (Product::People, "DELETE", ["api", "v1", "courses", _, "share"]) => Self::RemoveShare,
            (Product::Calendar, "PUT", ["api", "v1", "calendars", _, "share"]) => Self::ShareCalendar,
            (Product::Calendar, "GET", ["api", "v1", "calendars", _, "share"]) => Self::CalendarShares,
            (Product::People, ..) => Self::PeopleOther,
            (Product::Calendar, ..) => Self::CalendarOther,
        }
    }

    /// The name in the statistics, and the one by which a test locks it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ShareCourse => "PUT /api/v1/courses/{id}/share",
            Self::SharedUsers => "GET /api/v1/courses/{id}/share",
            Self::RemoveShare => "DELETE /api/v1/courses/{id}/share",
            Self::PeopleOther => "people.other",
            Self::ShareCalendar => "PUT /api/v1/calendars/{uid}/share",
            Self::CalendarShares => "GET /api/v1/calendars/{uid}/share",
            Self::CalendarOther => "calendar.other",
        }
    }
}
