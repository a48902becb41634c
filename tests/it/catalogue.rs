//! Compares the catalogue with `tests/data/zoho-endpoints.csv`, the table of Zoho's pages that it was made from: every
//! row has a route of its own with its own numbers. The exceptions are listed here, with the reason.

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use zoho_gateway::{
    middleware::route::{Matcher, Path},
    zoho::{
        catalogue::{Catalogue, Provenance, Route},
        product::Product,
    },
};

/// Rows with another number in force: name, requests in force, reason.
const OTHER_NUMBERS: [(&str, u32, &str); 1] = [(
    "Get Leave Record (legacy page of the same v2 endpoint; contradicts get-records-v2)",
    30,
    "two pages of one call state 300 and 30: the smaller one holds",
)];

/// Rows without a threshold, and the number that is assumed if it is not 30.
const ASSUMED: [(&str, u32, &str); 5] = [
    ("Bulk Time Logs (add or edit)", 10, "the smallest of its section"),
    ("General Settings (time tracker)", 10, "the smallest of its section"),
    ("Payroll Report", 10, "the smallest of its section"),
    ("Punch in or out", 10, "the smallest of its section"),
    ("Upgrade User Skills", 20, "what all others of its section state"),
];

/// Rows whose template matches any form, and the form that their page is about.
const FORMS: [(&str, &str, &str); 5] = [
    ("Adding Projects", "P_TimesheetJobsList", "its page names this form"),
    ("Modify Project", "P_TimesheetJobsList", "its page names this form"),
    ("Add Jobs", "P_TimesheetJob", "its page names this form"),
    ("Modifying Jobs", "P_TimesheetJob", "its page names this form"),
    ("Add Leave", "leave", "its page is about leave"),
];

/// Rows of one route: Zoho gives them the same path, and their methods do not distinguish them.
const ONE_CALL: [(&str, &[&str]); 7] = [
    // The same page, read twice: by GET and by POST.
    ("people.attendance.get-entries", &["Attendance Entries", ""]),
    ("people.forms.get-records", &["Get Bulk Records", "Search Records Based on Record Values"]),
    ("people.timesheet.run-timer", &["Start Timer", "Pause/Resume Timer"]),
    (
        "people.attendance.get-permission-approvals",
        &["Get Permission Approvals", "Get Applicable Permissions for Users"],
    ),
    (
        "people.leave.get-records",
        &["Get Records v2", "Get Leave Record (legacy page of the same v2 endpoint; contradicts get-records-v2)"],
    ),
    // One action, by GET and by POST.
    ("people.announcements.get-announcement", &["Get Single Announcement by ID", "Filter Announcements"]),
    ("people.attendance.get-regularization-records", &["Get Regularization Records", "Regularization fetch by POST"]),
];

#[derive(Debug)]
struct Row {
    product: Product,
    name: String,
    method: Method,
    path: String,
    scopes: Vec<String>,
    requests: Option<u32>,
    lock: Option<Duration>,
    source: String,
}

impl Row {
    /// A path of this row's call, with a value for each `<...>`.
    fn example(&self) -> String {
        let form = FORMS.iter().find(|(name, ..)| *name == self.name).map_or("Any_Form", |(_, form, _)| *form);
        let mut path = String::new();
        for (at, part) in self.path.split(['<', '>']).enumerate() {
            path += match (at % 2, part) {
                (0, literal) => literal,
                (_, "formLinkName" | "viewName") => form,
                (_, "inputType") => "json",
                (_, "employee_or_candidate") => "candidate",
                (_, _) => "588882000000289003",
            };
        }
        path
    }

    /// The same path under the other root.
    fn other_root(&self) -> Option<String> {
        let path = self.example();
        (self.product == Product::People).then(|| match path.strip_prefix("/people") {
            Some(rest) => rest.to_owned(),
            None => format!("/people{path}"),
        })
    }
}

#[test]
fn every_row_has_a_route_with_its_own_numbers() {
    let (catalogue, rows) = (Catalogue::published().expect("the catalogue"), rows());
    assert_eq!(rows.len(), 500);
    let matcher = Matcher::new(&catalogue).expect("nothing ambiguous");
    let mut wrong = Vec::new();
    for row in &rows {
        let Some(route) = find(&matcher, row, &row.example()) else {
            wrong.push(format!("{} {} ({}) leads nowhere", row.method, row.path, row.name));
            continue;
        };
        let threshold = route.threshold.expect("a threshold");
        let (requests, lock) = numbers(row);
        if (threshold.requests.get(), threshold.lock) != (requests, lock) || threshold.window.as_secs() != 60 {
            wrong.push(format!("{} ({}): {threshold:?}, expected {requests} and {lock:?}", route.id, row.name));
        }
        let stated = row.product == Product::People && row.requests.is_some();
        if stated == (route.trust == Provenance::Assumed) {
            wrong.push(format!("{} ({}): trust {:?}", route.id, row.name, route.trust));
        }
        if let Some(missing) = row.scopes.iter().find(|scope| !route.scopes.contains(scope)) {
            wrong.push(format!("{} ({}): lacks the scope {missing}", route.id, row.name));
        }
        let page = row.source.rsplit('/').next().unwrap_or_default();
        let documented = route.source == row.source || route.note.as_ref().is_some_and(|note| note.contains(page));
        if !row.source.is_empty() && !documented {
            wrong.push(format!("{} ({}): does not tell its source {}", route.id, row.name, row.source));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn rows_share_a_route_only_if_they_are_one_call() {
    let matcher = Matcher::new(&Catalogue::published().expect("the catalogue")).expect("nothing ambiguous");
    let mut buckets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows() {
        let route = find(&matcher, &row, &row.example()).expect("a route");
        buckets.entry(route.id.to_string()).or_default().push(row.name);
    }
    assert_eq!(buckets.len(), 493);
    let shared: Vec<_> = buckets.into_iter().filter(|(_, names)| names.len() > 1).collect();
    let mut listed: Vec<_> =
        ONE_CALL.map(|(id, names)| (id.to_owned(), names.iter().map(|name| (*name).to_owned()).collect())).into();
    listed.sort();
    assert_eq!(shared, listed);
}

#[test]
fn both_roots_of_people_are_one_route() {
    let matcher = Matcher::new(&Catalogue::published().expect("the catalogue")).expect("nothing ambiguous");
    for row in rows() {
        let Some(other) = row.other_root() else { continue };
        let [one, other] = [row.example(), other].map(|path| find(&matcher, &row, &path).map(|route| route.id.clone()));
        assert!(one.is_some() && one == other, "{}: {one:?} {other:?}", row.name);
    }
}

#[test]
fn methods_of_old_pages_are_accepted() {
    let matcher = Matcher::new(&Catalogue::published().expect("the catalogue")).expect("nothing ambiguous");
    let mut seen = 0;
    for row in rows() {
        let path = row.path.trim_start_matches("/people");
        let rest = ["/api/v1/", "/api/v3/", "/api/compensation/v1/", "/api/v2/leavetracker/compensatory/"];
        if row.product == Product::Calendar || rest.iter().any(|rest| path.starts_with(rest)) {
            continue;
        }
        let route = |method| matcher.known(row.product, &method, &Path::parse(&row.example()).expect("a path"));
        for method in [Method::GET, Method::POST, Method::PUT] {
            assert_eq!(
                route(method).map(|route| route.id.clone()),
                route(row.method.clone()).map(|route| route.id.clone())
            );
        }
        seen += 1;
    }
    assert!(seen > 100, "{seen}");
}

/// The numbers of a form, in every spelling of the path: the limit of `insertRecord` depends on path and form.
#[test]
fn a_form_has_its_own_limit() {
    let matcher = Matcher::new(&Catalogue::published().expect("the catalogue")).expect("nothing ambiguous");
    let limit = |path: &str| {
        let route =
            matcher.known(Product::People, &Method::POST, &Path::parse(path).expect("a path")).expect("a route");
        (route.id.to_string(), route.threshold.expect("a threshold").requests.get())
    };
    for (path, id, requests) in [
        ("/api/forms/json/employee/insertRecord", "people.forms.insert-employee", 300),
        ("/people/api/forms/xml/employee/insertRecord", "people.forms.insert-employee", 300),
        ("/people/api/forms/json/leave/insertRecord", "people.leave.add-leave", 300),
        ("/people/api/forms/json/Candidate/insertRecord", "people.onboarding.add-candidate", 30),
        ("/api/forms/json/candidate/insertRecord", "people.onboarding.add-candidate", 30),
        ("/api/forms/json/Candidate/updateRecord", "people.onboarding.update-candidate", 30),
        ("/api/forms/json/P_TimesheetJob/insertRecord", "people.timesheet.add-job", 30),
        ("/api/forms/json/P_Department/insertRecord", "people.forms.insert-record", 100),
        ("/api/forms/xml/P_Department/insertRecord", "people.forms.insert-record", 100),
    ] {
        assert_eq!(limit(path), (id.to_owned(), requests), "{path}");
    }
}

/// The numbers in force for a row, by the lists above.
fn numbers(row: &Row) -> (u32, Duration) {
    let listed =
        |list: &[(&str, u32, &str)]| list.iter().find(|(name, ..)| *name == row.name).map(|(_, requests, _)| *requests);
    let assumed = || listed(&ASSUMED).unwrap_or(30);
    let requests = listed(&OTHER_NUMBERS).or(row.requests).unwrap_or_else(assumed);
    (requests, row.lock.unwrap_or(Duration::from_secs(5 * 60)))
}

fn find(matcher: &Matcher, row: &Row, path: &str) -> Option<std::sync::Arc<Route>> {
    matcher.known(row.product, &row.method, &Path::parse(path).expect("a path"))
}

/// The rows of People and Calendar; the accounts server has no routes.
fn rows() -> Vec<Row> {
    let row = |line: &str| {
        let fields = fields(line);
        let [product, _, name, method, _, path, scopes, requests, minutes, source] = fields.as_slice() else {
            panic!("ten fields: {line}");
        };
        let product = Product::ALL.into_iter().find(|known| known.as_str() == product)?;
        // After the address comes how it was read.
        let address = source.split(' ').next().filter(|source| source.starts_with("https://"));
        Some(Row {
            product,
            name: name.clone(),
            method: Method::from_bytes(method.as_bytes()).expect("a method"),
            path: path.clone(),
            scopes: scopes.split('|').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
            requests: requests.parse().ok(),
            lock: minutes.parse().ok().map(|minutes: u64| Duration::from_secs(minutes * 60)),
            source: address.unwrap_or_default().replace("https://zoho.com/", "https://www.zoho.com/"),
        })
    };
    include_str!("../data/zoho-endpoints.csv").lines().skip(1).filter_map(row).collect()
}

/// The fields of a line of CSV; a field with a comma is in quotes.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match (c, quoted) {
            ('"', _) => quoted = !quoted,
            (',', false) => fields.push(String::new()),
            (c, _) => fields.last_mut().expect("at least one").push(c),
        }
    }
    fields
}
