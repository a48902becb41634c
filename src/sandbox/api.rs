//! The part of Zoho that a path belongs to, and the API that it counts for.

use http::Method;

/// The part that answers a path.
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

/// The unit of counting: a method and a path template, independent of the id in the path.
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

/// The first segment after `/api/v1/` in every documented path of Calendar; no path of People has one of them.
const CALENDAR_ROOTS: [&str; 17] = [
    "attachment",
    "bookings",
    "branch",
    "branches",
    "building",
    "calendars",
    "events",
    "features",
    "groups",
    "notification",
    "orgSettings",
    "rbaccess",
    "resources",
    "settings",
    "smartadd",
    "userSettings",
    "users",
];

impl Part {
    /// Decides by the decoded segments of the path. In reality the three parts have different hosts; here all other
    /// paths belong to People, which has by far the most.
    pub(super) fn of(segments: &[&str]) -> Self {
        match segments {
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

    /// Decides by decoded segments, so that each spelling of a path counts.
    pub(super) fn of(product: Product, method: &Method, segments: &[&str]) -> Self {
        match (product, method.as_str(), segments) {
            (Product::People, "PUT", ["api", "v1", "courses", _, "share"]) => Self::ShareCourse,
            (Product::People, "GET", ["api", "v1", "courses", _, "share"]) => Self::SharedUsers,
            (Product::People, "DELETE", ["api", "v1", "courses", _, "share"]) => Self::RemoveShare,
            (Product::Calendar, "PUT", ["api", "v1", "calendars", _, "share"]) => Self::ShareCalendar,
            (Product::Calendar, "GET", ["api", "v1", "calendars", _, "share"]) => Self::CalendarShares,
            (Product::People, ..) => Self::PeopleOther,
            (Product::Calendar, ..) => Self::CalendarOther,
        }
    }

    /// The name in the statistics and in lock commands.
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
