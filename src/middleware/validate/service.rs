//! Reads a body, or the start of it, before the call queues, and checks the call.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::task::spawn_blocking;

use super::{
    charset::Charsets,
    check,
    content::Content,
    form,
    read_budget::{ReadBudget, ReadShare},
    wording::quoted,
};
use crate::{
    call::{
        Call, Matched, Payload,
        attempt_log::Fate,
        dry_run,
        prefer::{self, WaitLimits},
    },
    message::{
        body::Body,
        list::{self, Quotes},
        method_override,
        payload_error::Fault,
    },
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    os::shutdown::Shutdown,
    problem::{Cause, Encoding, Reader, Refusal},
    telemetry::Metrics,
    zoho::catalogue::{Place, Route, Validation},
};

/// A body up to this size is read before the call queues, even if no rule looks inside: then a slow caller does not use
/// a slot while it sends, and the call can be sent again after Zoho rejects the token.
const HELD: u64 = 64 * 1024;

/// How long a caller whose body is too large may go on sending before the answer: a client whose connection closes
/// while it writes reports a broken connection instead of the 413.
const DRAIN: Duration = Duration::from_secs(2);

/// Turns a request that breaks no documented rule into a [`Call`].
#[derive(Debug)]
pub struct Validate {
    max_body: u64,
    max_form: u64,
    wait: WaitLimits,
    read_budget: Arc<ReadBudget>,
    shutdown: Shutdown,
    metrics: Arc<Metrics>,
}

impl<S: Inner<Call>> Middleware<Matched, S> for Validate {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, matched: Matched, inner: &mut S) -> BoxFuture {
        let (validate, mut inner) = (Arc::clone(self), inner.clone());
        Box::pin(async move {
            let context = matched.unread.context.clone();
            let refuse = |cause| Refusal::from(cause).of(&context).with_page_of(&context.route);
            let call = validate.call(matched).await.map_err(refuse)?;
            let Some(wait) = call.preferred_wait else { return inner.call(call).await };
            let mut response = inner.call(call).await.map_err(|refusal| refusal.with_applied_wait(wait))?;
            prefer::write_applied(response.headers_mut(), wait);
            Ok(response)
        })
    }
}

impl Validate {
    /// Rejects bodies over `max_body` bytes, forms over `max_form`, and bodies that would make all bodies being read
    /// hold more than `max_held` bytes. `wait` says how long calls wait for a slot. A drain ends the reading of a body
    /// soon. The metrics count calls that break a rule and pass.
    pub fn layer(
        max_body: u64,
        max_form: u64,
        max_held: u64,
        wait: WaitLimits,
        shutdown: Shutdown,
        metrics: Arc<Metrics>,
    ) -> MiddlewareLayer<Self> {
        let read_budget = ReadBudget::new(max_held);
        MiddlewareLayer::new(Self { max_body, max_form, wait, read_budget, shutdown, metrics })
    }

    async fn call(&self, matched: Matched) -> Result<Call, Cause> {
        let Matched { unread, body } = matched;
        let headers = &unread.head.headers;
        let kind = BodyKind::of(headers, &unread.context.route, unread.read_only);
        if kind.is_read && !body.is_end_stream() {
            kind.readable(headers)?;
        }
        // Faults in the query need no body; but the answer lists all faults at once, so the body is read first.
        let bounds = kind.bounds(self.max_form.min(self.max_body), self.max_body);
        let expects = headers.contains_key(header::EXPECT);
        let mut share = self.read_budget.share();
        let payload = tokio::select! {
            biased;
            payload = read(body, bounds, expects, &mut share) => payload?,
            () = self.shutdown.impatient() => return Err(Cause::CutOff(Fate::NotSent)),
        };
        unread.state().waits();
        let payload = if kind.may_be_a_file { screened(payload)? } else { payload };
        let (route, query) = (Arc::clone(&unread.context.route), unread.target.clone());
        let checked = match &payload {
            Payload::Held { bytes, .. } if bytes.len() as u64 > HELD => {
                let bytes = bytes.clone();
                // Megabytes take some milliseconds, in which the other requests of this worker thread would wait.
                let checked = spawn_blocking(move || check_call(&route, query.query(), &kind, Some(&bytes)));
                checked.await.unwrap_or(Err(Cause::Internal))
            }
            Payload::Held { bytes, .. } => check_call(&route, query.query(), &kind, Some(bytes)),
            Payload::Streamed(_) => check_call(&route, query.query(), &kind, None),
        };
        let faults = checked?;
        if !faults.is_empty() {
            // A dry run names the faults also where they would pass.
            let is_dry_run = dry_run::is_asked(&unread.head.headers) == Some(true);
            if unread.context.route.validation != Validation::Report || is_dry_run {
                return Err(Cause::InvalidPayload(faults));
            }
            let (account, route) = unread.context.names();
            self.metrics.reported(&account, &route);
            unread.would_refuse(faults);
        }
        Ok(unread.call(payload, self.wait))
    }
}

/// What the headers say about a body, and what follows on this route.
struct BodyKind {
    content_type: String,
    /// Whether a server may read it as a form.
    is_form: bool,
    /// Whether the gateway searches its multipart parts as well.
    in_parts: bool,
    /// Whether the gateway has to read its content.
    is_read: bool,
    /// Whether it may be longer than a form: it names no type, its route has no rules, and its caller may write.
    may_be_a_file: bool,
    is_compressed: bool,
    /// How long a multipart form is, if it says so.
    parts_length: Option<u64>,
    /// Which part of the gateway reads the content.
    reader: Reader,
}

impl BodyKind {
    /// A body that may be a form is read on every call: a parameter in it could turn this call into another one. For a
    /// caller that may only read, this holds on every route, and for multipart bodies as well; other callers upload
    /// files in multipart bodies, which stream.
    fn of(headers: &HeaderMap, route: &Route, read_only: bool) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
        let is_form = form::may_be_one(content_type.as_deref());
        let (is_off, has_rules) = (route.validation == Validation::Off, has_form_rules(route));
        let has_rules = has_rules && is_form;
        let in_parts = read_only && content_type.as_deref().is_some_and(form::may_be_multipart);
        let is_read = (is_form && (read_only || !is_off)) || in_parts || has_rules;
        let names_none = content_type.as_deref().is_none_or(|kind| !form::names_a_type(kind));
        let may_be_a_file = is_form && names_none && !read_only && !has_rules;
        let reader = if has_rules { Reader::Rules } else { Reader::Overrides };
        let (content_type, is_compressed) = (content_type.unwrap_or_default().into_owned(), is_compressed(headers));
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let parts_length = length.filter(|_| !is_compressed && form::boundary(&content_type).is_some());
        Self { content_type, is_form, in_parts, is_read, may_be_a_file, is_compressed, parts_length, reader }
    }

    /// How long it may be, and how much of it is held. Only the content of forms is checked, so everything else
    /// streams, whatever the route's rules.
    fn bounds(&self, max_form: u64, max_body: u64) -> Bounds {
        let (held, longest) = match self {
            Self { is_read: false, .. } | Self { is_form: false, in_parts: false, .. } => {
                (HELD.min(max_body), max_body)
            }
            // Beyond `max_form` it may be a file, since clients send those without a type: it streams, and the gateway
            // cuts it where a form parameter would turn the call into another one.
            Self { may_be_a_file: true, .. } => (max_form, max_body),
            _ => (max_form, max_form),
        };
        Bounds { held, longest, form: longest < max_body }
    }

    /// Rejects a compressed body and one in an unknown charset: the gateway cannot read them.
    fn readable(&self, headers: &HeaderMap) -> Result<(), Cause> {
        if is_compressed(headers) {
            return Err(Cause::BodyEncoded { encoding: Encoding::Compressed, reader: self.reader });
        }
        Charsets::named(&self.content_type).map(drop).map_err(|charset| self.unreadable(charset))
    }

    /// Rejects a body that is another text in its charset than in UTF-8.
    fn agrees_on(&self, body: &[u8]) -> Result<(), Cause> {
        let charsets = Charsets::named(&self.content_type);
        let agreed = charsets.and_then(|charsets| charsets.agree_on(body, self.is_form));
        agreed.map_err(|charset| self.unreadable(charset))
    }

    fn unreadable(&self, charset: &str) -> Cause {
        Cause::BodyEncoded { encoding: Encoding::Charset(quoted(charset)), reader: self.reader }
    }
}

/// The rules that the query and the body of a call break; `body` is the whole body, if it is held. What the gateway cannot
/// read, or what would make another call of it, is an error under any rules.
fn check_call(route: &Route, query: Option<&str>, kind: &BodyKind, body: Option<&[u8]>) -> Result<Vec<Fault>, Cause> {
    if let Some(body) = body.filter(|body| kind.is_read && !body.is_empty()) {
        kind.agrees_on(body)?;
    }
    let form = body.filter(|_| kind.is_form);
    let opaque = Content::Opaque { of_parts: kind.parts_length };
    let content = match body {
        // A file without a type, on a call whose page has no form.
        Some(body) if kind.may_be_a_file && !body.is_empty() => opaque,
        Some(_) if kind.is_form => Content::from(form),
        Some(body) if !kind.is_compressed => Content::of(body, &kind.content_type),
        _ => opaque,
    };
    let parts = body.filter(|_| kind.in_parts);
    if let Some(fault) = form.and_then(method_override::in_parameters).or_else(|| method_override::in_parts(parts?)) {
        return Err(Cause::InvalidPayload(vec![fault]));
    }
    if route.validation == Validation::Strict || !route.parameters.is_empty() {
        return Ok(check(&route.parameters, route.validation, query, content).err().unwrap_or_default());
    }
    Ok(Vec::new())
}

/// Looks for method overrides in a body while it streams; the part that is held is checked at once.
fn screened(payload: Payload) -> Result<Payload, Cause> {
    let Payload::Streamed(body) = payload else { return Ok(payload) };
    let mut screen = method_override::Screen::default();
    if screen.finds(body.first()) {
        return Err(Cause::BodyOverrides);
    }
    Ok(Payload::Streamed(body.screened(move |piece| !screen.finds(piece))))
}

/// Whether the route has rules for the content of a form: a parameter may be in it, or unknown parameters are rejected.
fn has_form_rules(route: &Route) -> bool {
    match route.validation {
        Validation::Documented | Validation::Report => {
            route.parameters.iter().any(|parameter| parameter.places.contains(&Place::Form))
        }
        Validation::Strict => true,
        Validation::Off => false,
    }
}

/// Whether a body is compressed, so that Zoho would read other bytes than the gateway.
fn is_compressed(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut codings = lines.flat_map(|line| list::split(line.as_bytes(), Quotes::Tokens));
    codings.any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

/// How much of a body is accepted, in bytes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// How much is read before the call queues; a longer body streams.
    held: u64,
    /// The maximum; a longer body is rejected.
    longest: u64,
    /// Whether the maximum is that of forms.
    form: bool,
}

/// Reads the part of a body that is held. A client that `expects` a `100 Continue` has not started to send.
async fn read(mut incoming: Incoming, bounds: Bounds, expects: bool, share: &mut ReadShare) -> Result<Payload, Cause> {
    let Bounds { held, longest, form } = bounds;
    let too_large = Cause::BodyTooLarge { limit: longest, form };
    if incoming.size_hint().lower() > longest {
        if !expects {
            drain(incoming).await;
        }
        return Err(too_large);
    }
    if incoming.size_hint().lower() > held {
        return Ok(Payload::Streamed(Body::from(incoming).at_most(longest)));
    }
    let mut first: Option<Bytes> = None;
    let mut collected = BytesMut::new();
    loop {
        match incoming.frame().await.transpose().map_err(|_| Cause::BodyIncomplete)?.map(http_body::Frame::into_data) {
            None => return Ok(held_payload(first, collected, None)),
            Some(Err(trailers)) => return Ok(held_payload(first, collected, trailers.into_trailers().ok())),
            // Most bodies are one frame, which is not copied.
            Some(Ok(data)) if first.is_none() && collected.is_empty() => first = Some(data),
            Some(Ok(data)) => {
                collected.extend_from_slice(&first.take().unwrap_or_default());
                collected.extend_from_slice(&data);
            }
        }
        let length = (collected.len() + first.as_ref().map_or(0, Bytes::len)) as u64;
        share.grow_to(length)?;
        if length > longest {
            drain(incoming).await;
            return Err(too_large);
        }
        if length > held {
            let head = first.unwrap_or_else(|| collected.freeze());
            return Ok(Payload::Streamed(Body::streamed(head, incoming).at_most(longest - length)));
        }
    }
}

fn held_payload(first: Option<Bytes>, collected: BytesMut, trailers: Option<HeaderMap>) -> Payload {
    // A buffer that grew by doubling may have twice the capacity it needs.
    let fitting = |collected: BytesMut| match collected.capacity() > collected.len() + collected.len() / 8 {
        true => Bytes::copy_from_slice(&collected),
        false => collected.freeze(),
    };
    Payload::Held { bytes: first.unwrap_or_else(|| fitting(collected)), trailers }
}

async fn drain(mut incoming: Incoming) {
    let all = async { while let Some(Ok(_)) = incoming.frame().await {} };
    // A body that ends and a timeout have the same effect here.
    let _ = tokio::time::timeout(DRAIN, all).await;
}
