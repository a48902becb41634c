//! The products whose calls are forwarded. Everything that differs between products is a field of their rows.

use super::data_center::{DataCenter, Hosts, hosts};

/// One of Zoho's products; each has a host of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Product {
    /// Zoho People, `people.zoho.com`.
    People,
    /// Zoho Calendar, `calendar.zoho.com`.
    Calendar,
}

/// The facts about a product.
struct Row {
    name: &'static str,
    title: &'static str,
    hosts: Hosts,
    /// The product answers `{second_root}/api/...` as it answers `/api/...`.
    second_root: Option<&'static str>,
    has_daily_limit: bool,
}

/// The rows in the order of [`Product::ALL`].
static TABLE: [Row; Product::ALL.len()] = [
    Row {
        name: "people",
        title: "People",
        hosts: hosts!("people"),
        // zoho-facts, section 0.
        second_root: Some("/people"),
        has_daily_limit: true,
    },
    Row {
        name: "calendar",
        title: "Calendar",
        hosts: hosts!("calendar"),
        second_root: None,
        // Zoho states the limit for People; its other products have their own counts.
        has_daily_limit: false,
    },
];

impl Product {
    /// Every product, in the order of declaration and of the catalogue's files.
    pub const ALL: [Self; 2] = [Self::People, Self::Calendar];

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The name in route ids, in the gateway's own paths and in `endpoints`: `people`, `calendar`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The name as Zoho writes it after its own, for messages: `People`, `Calendar`.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// The host in a data centre, for example `people.zoho.com`.
    #[must_use]
    pub fn host(self, center: DataCenter) -> &'static str {
        self.row().hosts[center as usize]
    }

    /// A decoded path or a template below the first root: the product's two roots lead to the same calls.
    #[must_use]
    pub fn below_first_root(self, path: &str) -> &str {
        let below = |root| path.strip_prefix(root).filter(|rest| rest.starts_with("/api/"));
        self.row().second_root.and_then(below).unwrap_or(path)
    }

    /// Whether its calls count towards an account's daily limit.
    #[must_use]
    pub fn has_daily_limit(self) -> bool {
        self.row().has_daily_limit
    }

    /// Every product in a sentence: `people. or calendar.`
    pub fn list(conjunction: &str, word: impl Fn(Self) -> String) -> String {
        let [first @ .., last] = Self::ALL.map(word);
        format!("{} {conjunction} {last}", first.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_of_people_lead_to_the_same_path() {
        for (product, path, expected) in [
            (Product::People, "/people/api/forms", "/api/forms"),
            (Product::People, "/api/forms", "/api/forms"),
            (Product::People, "/people/people/api/forms", "/people/people/api/forms"),
            (Product::People, "/people/x", "/people/x"),
            (Product::People, "/peopleapi/x", "/peopleapi/x"),
            (Product::Calendar, "/people/api/forms", "/people/api/forms"),
            (Product::Calendar, "/calendar/api/v1/events", "/calendar/api/v1/events"),
        ] {
            assert_eq!(product.below_first_root(path), expected);
        }
    }

    #[test]
    fn products_are_listed_in_words() {
        assert_eq!(Product::list("or", |product| format!("{}.", product.as_str())), "people. or calendar.");
    }

    #[test]
    fn all_is_in_the_order_of_declaration() {
        for (index, product) in Product::ALL.into_iter().enumerate() {
            assert_eq!(product as usize, index);
        }
        for (index, center) in DataCenter::ALL.into_iter().enumerate() {
            assert_eq!(center as usize, index);
        }
    }
}
