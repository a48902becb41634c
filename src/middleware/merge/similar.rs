//! Which calls differ in their list only.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::PathAndQuery};

use super::payload::{self, Search, Template};
use crate::{
    call::{Call, Payload},
    zoho::{account::AccountName, catalogue::RouteId},
};

/// Fields that differ between clients or calls, and do not change what Zoho does.
const OF_NO_MATTER: [&str; 7] =
    ["accept-encoding", "content-length", "date", "idempotency-key", "te", "user-agent", "x-request-id"];

/// Fields about the bytes of a payload, which are others in a merged call.
const ABOUT_BYTES: [&str; 8] = [
    "content-digest",
    "content-encoding",
    "content-md5",
    "content-range",
    "digest",
    "repr-digest",
    "signature",
    "signature-input",
];

/// Everything of a call but its list. Calls with equal keys may go as one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    account: AccountName,
    route: RouteId,
    method: Method,
    path: String,
    query: Text,
    body: Text,
    /// The fields that reach Zoho, in a fixed order.
    fields: Vec<(String, HeaderValue)>,
    /// Zoho refused the call's token before: it is sent once more, not twice.
    token_refused: bool,
}

/// A query or a body.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Text {
    /// The list is elsewhere.
    Whole(Vec<u8>),
    /// The list is here.
    Around(Template),
}

/// What a composed call has in place of its leader's.
pub(super) struct Composed {
    pub(super) target: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
}

impl Key {
    /// Key and numbers of a call that may merge. `for_zoho` removes the fields that do not reach Zoho.
    pub(super) fn of(call: &Call, for_zoho: fn(&mut HeaderMap)) -> Option<(Self, Vec<String>)> {
        let merge = call.context.route.merge.as_ref()?;
        let Payload::Held { bytes, trailers: None } = &call.payload else { return None };
        let mut headers = call.headers.clone();
        for_zoho(&mut headers);
        if ABOUT_BYTES.iter().any(|name| headers.contains_key(*name)) {
            return None;
        }
        let query = call.target.query().unwrap_or_default().as_bytes();
        let in_body = if is_form(&headers) { payload::search(bytes, &merge.parameter) } else { Search::Absent };
        let whole = |text: &[u8]| Text::Whole(text.to_owned());
        let (query, body, numbers) = match (payload::search(query, &merge.parameter), in_body) {
            (Search::Absent, Search::Found(template, numbers)) => (whole(query), Text::Around(template), numbers),
            (Search::Found(template, numbers), Search::Absent) => (Text::Around(template), whole(bytes), numbers),
            _ => return None,
        };
        let key = Self {
            account: call.context.account.name.clone(),
            route: call.context.route.id.clone(),
            method: call.method.clone(),
            path: call.target.path().to_owned(),
            query,
            body,
            fields: fields(&headers),
            token_refused: call.token_was_refused(),
        };
        Some((key, numbers))
    }

    /// The call of this leader with these numbers; `None` only for a target that no URI can hold.
    pub(super) fn compose<'n>(&self, leader: &Call, numbers: impl Iterator<Item = &'n str>) -> Option<Composed> {
        let Payload::Held { bytes, .. } = &leader.payload else { return None };
        let (mut target, mut headers, mut bytes) = (leader.target.clone(), leader.headers.clone(), bytes.clone());
        match (&self.query, &self.body) {
            (Text::Around(template), _) => {
                let query = String::from_utf8(template.with(numbers)).ok()?;
                target = format!("{}?{query}", self.path).parse().ok()?;
            }
            (_, Text::Around(template)) => {
                bytes = template.with(numbers).into();
                headers.remove(header::CONTENT_LENGTH);
            }
            _ => return None,
        }
        // The answer is divided, so it has to come as it is.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.remove("idempotency-key");
        Some(Composed { target, headers, payload: Payload::Held { bytes, trailers: None } })
    }

    /// The route.
    pub(super) fn route(&self) -> &RouteId {
        &self.route
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn fields(headers: &HeaderMap) -> Vec<(String, HeaderValue)> {
    let matters = |name: &HeaderName| !OF_NO_MATTER.contains(&name.as_str());
    let fields = headers.iter().filter(|(name, _)| matters(name));
    let mut fields: Vec<_> = fields.map(|(name, value)| (name.to_string(), value.clone())).collect();
    // Stable, so that the values of one field keep their order.
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::{
        call::tests::{call_of, with_headers, with_payload},
        zoho::catalogue::Merge,
    };

    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

    fn call(account: &str, target: &str, body: &'static str, fields: &[(&'static str, &'static str)]) -> Call {
        let mut call = call_of(account, target);
        Arc::make_mut(&mut call.context.route).merge = Some(Merge { parameter: "list".to_owned(), max: 50 });
        let fields =
            fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let payload = Payload::Held { bytes: Bytes::from_static(body.as_bytes()), trailers: None };
        with_payload(with_headers(call, fields.collect()), payload)
    }

    fn key(call: &Call) -> Option<Key> {
        Key::of(call, |headers| drop(headers.remove("prefer"))).map(|(key, _)| key)
    }

    #[test]
    fn calls_that_differ_in_the_list_only_are_similar() {
        let one = key(&call("main", "/a?x=1", "a=b&list=[1]", &[FORM, ("prefer", "wait=1")])).unwrap();
        for (target, body, field) in [
            ("/a?x=1", "a=b&list=[2,3]", ("user-agent", "x")),
            ("/a?x=1", "a=b&list=%5B1%5D", ("content-length", "16")),
        ] {
            assert_eq!(key(&call("main", target, body, &[FORM, field])).unwrap(), one);
        }
        let wait = ("prefer", "wait=2");
        for (what, other) in [
            ("account", call("other", "/a?x=1", "a=b&list=[1]", &[FORM, wait])),
            ("path", call("main", "/b?x=1", "a=b&list=[1]", &[FORM, wait])),
            ("query", call("main", "/a?x=2", "a=b&list=[1]", &[FORM, wait])),
            ("place", call("main", "/a?x=1&list=[1]", "a=b", &[FORM, wait])),
            ("parameter", call("main", "/a?x=1", "a=c&list=[1]", &[FORM, wait])),
            ("order", call("main", "/a?x=1", "list=[1]&a=b", &[FORM, wait])),
            ("strings", call("main", "/a?x=1", "a=b&list=[\"1\"]", &[FORM, wait])),
            ("field", call("main", "/a?x=1", "a=b&list=[1]", &[FORM, ("accept", "text/plain")])),
            ("token", call("main", "/a?x=1", "a=b&list=[1]", &[FORM]).with_another_token()),
        ] {
            assert_ne!(key(&other).unwrap(), one, "{what}");
        }
    }

    #[test]
    fn a_call_without_one_clear_list_does_not_merge() {
        for (target, body, fields) in [
            ("/a", "list=[1]", &[][..]),
            ("/a", "list=[1]", &[("content-type", "text/plain")]),
            ("/a", "a=b", &[FORM]),
            ("/a?list=[1]", "list=[2]", &[FORM]),
            ("/a?list=x", "list=[2]", &[FORM]),
            ("/a", "list=[1]", &[FORM, ("content-encoding", "gzip")]),
            ("/a", "list=[1]", &[FORM, ("content-digest", "x")]),
        ] {
            assert!(key(&call("main", target, body, fields)).is_none(), "{target} {body}");
        }
        let off = with_payload(call_of("main", "/a?list=[1]"), Payload::Held { bytes: Bytes::new(), trailers: None });
        assert!(key(&off).is_none(), "the route does not merge");
    }

    #[test]
    fn a_composed_call_differs_from_its_leader_in_the_list_only() {
        for (target, body, expected) in [
            ("/a?x=%20", "a=b&list=[1]&c", ("/a?x=%20", "a=b&list=%5B1%2C2%5D&c")),
            ("/a?list=[1]&x=%20", "raw", ("/a?list=%5B1%2C2%5D&x=%20", "raw")),
        ] {
            let leader = call("main", target, body, &[FORM, ("content-length", "15"), ("idempotency-key", "k")]);
            let composed = key(&leader).unwrap().compose(&leader, ["1", "2"].into_iter()).unwrap();
            let Payload::Held { bytes, trailers: None } = composed.payload else { panic!("a held body") };
            assert_eq!((composed.target.as_str(), std::str::from_utf8(&bytes).unwrap()), expected);
            assert_eq!(composed.headers["accept-encoding"], "identity");
            assert!(!composed.headers.contains_key("idempotency-key"));
            assert_eq!(composed.headers.contains_key("content-length"), body == "raw");
        }
    }
}
