//! Reads the part of a body that is read before the call queues, and checks the call.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::task::spawn_blocking;

use super::{
    charset::Charsets,
    check, form,
    reading::{Part, Reading},
    wording::quoted,
};
use crate::{
    call::{Call, Matched, Payload, attempt_log::Fate},
    message::{
        body::Body,
        list::{self, Quotes},
        method_override,
    },
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    os::shutdown::Shutdown,
    problem::{Cause, Encoding, Reader, Refusal},
    zoho::catalogue::{Place, Route, Validation},
};

/// A body up to this size is read before the call queues, even where nobody looks inside: then a slow caller does not
/// hold a slot while it sends, and the call can be sent again after a dead token.
const HELD: u64 = 64 * 1024;

/// How long a caller whose body is too large may go on sending before the answer: a client that is cut off while it
/// writes reports a broken connection instead of the 413.
const DRAIN: Duration = Duration::from_secs(2);

/// Makes a [`Call`] of a request that breaks no documented rule.
#[derive(Debug)]
pub struct Validate {
    max_body: u64,
    max_form: u64,
    max_wait: Duration,
    reading: Arc<Reading>,
    shutdown: Shutdown,
}

impl<S: Inner<Call>> Middleware<Matched, S> for Validate {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, matched: Matched, inner: &mut S) -> BoxFuture {
        let (validate, mut inner) = (Arc::clone(self), inner.clone());
        Box::pin(async move {
            let context = matched.unread.context.clone();
            let call = validate.call(matched).await.map_err(|cause| Refusal::from(cause).of(&context))?;
            inner.call(call).await
        })
    }
}

impl Validate {
    /// Bodies over `max_body` bytes are refused, forms over `max_form`, and what would make all that are being read hold
    /// more than `max_held` bytes. Callers that prefer nothing else wait at most `max_wait` for a slot. During a drain no
    /// body is waited for longer than a moment.
    pub fn layer(
        max_body: u64,
        max_form: u64,
        max_held: u64,
        max_wait: Duration,
        shutdown: Shutdown,
    ) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self { max_body, max_form, max_wait, reading: Reading::new(max_held), shutdown })
    }

    async fn call(&self, matched: Matched) -> Result<Call, Cause> {
        let Matched { unread, body } = matched;
        let headers = &unread.head.headers;
        let kind = BodyKind::of(headers, &unread.context.route, unread.read_only);
        if kind.is_read && !body.is_end_stream() {
            kind.readable(headers)?;
        }
        // What the query shows to be wrong needs no body; but all faults are told at once, so the body is read first. Only
        // forms are looked into, so everything else streams, whatever the route's rules.
        let max_form = self.max_form.min(self.max_body);
        let bounds = match kind.length() {
            Length::OfAForm => Bounds { held: max_form, longest: max_form, form: max_form < self.max_body },
            Length::Unmarked => Bounds { held: max_form, longest: self.max_body, form: false },
            Length::OfAStream => Bounds { held: HELD.min(self.max_body), longest: self.max_body, form: false },
        };
        let expects = headers.contains_key(header::EXPECT);
        let mut part = self.reading.begin();
        let payload = tokio::select! {
            biased;
            payload = read(body, bounds, expects, &mut part) => payload?,
            () = self.shutdown.impatient() => return Err(Cause::CutOff(Fate::NotSent)),
        };
        unread.state().waits();
        let payload = if kind.may_be_a_file { screened(payload)? } else { payload };
        let (route, query) = (Arc::clone(&unread.context.route), unread.target.clone());
        match &payload {
            Payload::Held { bytes, .. } if bytes.len() as u64 > HELD => {
                let bytes = bytes.clone();
                // Megabytes take a moment, in which the other callers of this worker would wait.
                let judged = spawn_blocking(move || judge(&route, query.query(), &kind, Some(&bytes)));
                judged.await.unwrap_or(Err(Cause::Internal))?;
            }
            Payload::Held { bytes, .. } => judge(&route, query.query(), &kind, Some(bytes))?,
            Payload::Streamed(_) => judge(&route, query.query(), &kind, None)?,
        }
        Ok(unread.call(payload, self.max_wait))
    }
}

/// What a body is by its head, and what that means on its route.
struct BodyKind {
    content_type: String,
    is_form: bool,
    /// Whether its parts are looked for as well.
    in_parts: bool,
    /// Whether the gateway has to understand it.
    is_read: bool,
    /// Whether it may be longer than a form: it names no type, its route has no rules, and its caller may write anyway.
    may_be_a_file: bool,
    /// Why it does.
    reader: Reader,
}

/// Which bounds a body has.
enum Length {
    /// It is held whole: up to `max_form`.
    OfAForm,
    /// It is held up to `max_form`. Beyond that it may be a file, since clients send those without a type; it streams, and
    /// ends where a form would make another call of this one.
    Unmarked,
    /// It streams, and only its beginning is held.
    OfAStream,
}

impl BodyKind {
    /// What may be a form is read on any call: a parameter of it could make another call of this one. A caller that may
    /// only read gets that past no route, and not in parts either; others upload files in those, which stream.
    fn of(headers: &HeaderMap, route: &Route, read_only: bool) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
        let is_form = form::may_be_one(content_type.as_deref());
        let (is_off, has_rules) = (route.validation == Validation::Off, looks_inside(route));
        let in_parts = read_only && content_type.as_deref().is_some_and(form::may_be_multipart);
        let is_read = (is_form && (read_only || !is_off)) || in_parts || has_rules;
        let names_none = content_type.as_deref().is_none_or(|kind| !form::names_a_type(kind));
        let may_be_a_file = is_form && names_none && !read_only && !has_rules;
        let reader = if has_rules { Reader::Rules } else { Reader::Overrides };
        let content_type = content_type.unwrap_or_default().into_owned();
        Self { content_type, is_form, in_parts, is_read, may_be_a_file, reader }
    }

    /// How long it may be, and how much of it is held.
    fn length(&self) -> Length {
        match self {
            Self { is_read: false, .. } | Self { is_form: false, in_parts: false, .. } => Length::OfAStream,
            Self { may_be_a_file: true, .. } => Length::Unmarked,
            _ => Length::OfAForm,
        }
    }

    /// Refuses what no body of its kind can be read in.
    fn readable(&self, headers: &HeaderMap) -> Result<(), Cause> {
        if is_compressed(headers) {
            return Err(Cause::BodyEncoded { encoding: Encoding::Compressed, reader: self.reader });
        }
        Charsets::named(&self.content_type).map(drop).map_err(|charset| self.unreadable(charset))
    }

    /// Refuses a body that says something else in its charset than in UTF-8.
    fn agrees_on(&self, body: &[u8]) -> Result<(), Cause> {
        let charsets = Charsets::named(&self.content_type);
        let agreed = charsets.and_then(|charsets| charsets.agree_on(body, self.is_form));
        agreed.map_err(|charset| self.unreadable(charset))
    }

    fn unreadable(&self, charset: &str) -> Cause {
        Cause::BodyEncoded { encoding: Encoding::Charset(quoted(charset)), reader: self.reader }
    }
}

/// Holds a call to what can be known before it is sent; `body`: all of it, where it is held.
fn judge(route: &Route, query: Option<&str>, kind: &BodyKind, body: Option<&[u8]>) -> Result<(), Cause> {
    if let Some(body) = body.filter(|body| kind.is_read && !body.is_empty()) {
        kind.agrees_on(body)?;
    }
    let form = body.filter(|_| kind.is_form);
    let parts = body.filter(|_| kind.in_parts);
    if let Some(fault) = form.and_then(method_override::in_parameters).or_else(|| method_override::in_parts(parts?)) {
        return Err(Cause::InvalidPayload(vec![fault]));
    }
    if has_rules(route) {
        check(&route.parameters, route.validation, query, form).map_err(Cause::InvalidPayload)?;
    }
    Ok(())
}

/// Looks for overrides in a body while it streams; what is held already is judged at once.
fn screened(payload: Payload) -> Result<Payload, Cause> {
    let Payload::Streamed(body) = payload else { return Ok(payload) };
    let mut screen = method_override::Screen::default();
    if screen.finds(body.first()) {
        return Err(Cause::BodyOverrides);
    }
    Ok(Payload::Streamed(body.screened(move |piece| !screen.finds(piece))))
}

/// Whether anything can be wrong with a payload.
fn has_rules(route: &Route) -> bool {
    match route.validation {
        Validation::Documented => !route.parameters.is_empty(),
        Validation::Strict => true,
        Validation::Off => false,
    }
}

/// Whether a form's content matters: where a parameter may stand in it, or nothing unknown may.
fn looks_inside(route: &Route) -> bool {
    match route.validation {
        Validation::Documented => route.parameters.iter().any(|parameter| parameter.places.contains(&Place::Form)),
        Validation::Strict => true,
        Validation::Off => false,
    }
}

/// Whether a body is compressed, so that Zoho would see another one than the gateway.
fn is_compressed(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut codings = lines.flat_map(|line| list::split(line.as_bytes(), Quotes::Tokens));
    codings.any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

/// How much of a body is taken, in bytes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// So much is read before the call queues; what is longer streams.
    held: u64,
    /// More is refused.
    longest: u64,
    /// That is because it is a form.
    form: bool,
}

/// Reads what is held of a body. Who `expects` to be told before it sends is not sending yet.
async fn read(mut incoming: Incoming, bounds: Bounds, expects: bool, part: &mut Part) -> Result<Payload, Cause> {
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
            // Most bodies are one frame, which then need not be copied.
            Some(Ok(data)) if first.is_none() && collected.is_empty() => first = Some(data),
            Some(Ok(data)) => {
                collected.extend_from_slice(&first.take().unwrap_or_default());
                collected.extend_from_slice(&data);
            }
        }
        let length = (collected.len() + first.as_ref().map_or(0, Bytes::len)) as u64;
        part.grow_to(length)?;
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
    // What doubled on its way takes up to twice its size.
    let fitting = |collected: BytesMut| match collected.capacity() > collected.len() + collected.len() / 8 {
        true => Bytes::copy_from_slice(&collected),
        false => collected.freeze(),
    };
    Payload::Held { bytes: first.unwrap_or_else(|| fitting(collected)), trailers }
}

async fn drain(mut incoming: Incoming) {
    let all = async { while let Some(Ok(_)) = incoming.frame().await {} };
    // Whether it ended or the time did is the same to us.
    let _ = tokio::time::timeout(DRAIN, all).await;
}
