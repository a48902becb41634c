//! One call's visit to the validate room.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower::{Layer, Service, ServiceExt};

use super::{
    check,
    reading::{Part, Reading},
};
use crate::{
    body::Body,
    boxed::BoxFuture,
    call::{Call, Departure, Matched, Payload},
    catalogue::{Place, Route, Validation},
    clock,
    ledger::Entrance,
    overrides,
    refusal::{Cause, Refusal},
    shutdown::Shutdown,
    trail::{Fate, Trail},
};

/// A body up to this size is read before the call queues, even where nobody looks inside: then a slow caller does not
/// hold a slot while it sends, and the call can be sent again after a dead token.
const HELD: u64 = 64 * 1024;

/// How long a caller whose body is too large may go on sending before the answer: a client that is cut off while it
/// writes reports a broken connection instead of the 413.
const DRAIN: Duration = Duration::from_secs(2);

/// Hangs the room.
#[derive(Debug, Clone)]
pub struct ValidateLayer {
    max_body: u64,
    reading: Arc<Reading>,
    shutdown: Shutdown,
}

/// The room.
#[derive(Debug, Clone)]
pub struct Validate<S> {
    room: ValidateLayer,
    inner: S,
}

impl ValidateLayer {
    /// Bodies over `max_body` bytes are refused, and so is what would make all that are being read hold more than
    /// `max_held` bytes. During a drain no body is waited for longer than a moment.
    #[must_use]
    pub fn new(max_body: u64, max_held: u64, shutdown: Shutdown) -> Self {
        Self { max_body, reading: Reading::new(max_held), shutdown }
    }
}

impl<S> Layer<S> for ValidateLayer {
    type Service = Validate<S>;

    fn layer(&self, inner: S) -> Validate<S> {
        Validate { room: self.clone(), inner }
    }
}

impl<S> Service<Matched> for Validate<S>
where
    S: Service<Call, Response = Response<Body>, Error = Refusal> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = BoxFuture<Response<Body>, Refusal>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, matched: Matched) -> Self::Future {
        let room = self.room.clone();
        let inner = self.inner.clone();
        Box::pin(async move {
            let subject = matched.subject.clone();
            let call = visit(matched, &room).await.map_err(|cause| Refusal::from(cause).of(&subject))?;
            inner.oneshot(call).await
        })
    }
}

async fn visit(Matched { subject, target, mut head, body }: Matched, room: &ValidateLayer) -> Result<Call, Cause> {
    let (route, max_body) = (&subject.route, room.max_body);
    // What the query shows to be wrong needs no body; but all faults are told at once, so the body is read first. A form
    // is on any call: a parameter of it could make another call of this one.
    let reads = route.validation != Validation::Off && (looks_inside(route) || is_marked_as_form(&head.headers));
    let held = if reads { max_body } else { HELD.min(max_body) };
    let expects = head.headers.contains_key(header::EXPECT);
    if reads && is_encoded(&head.headers) && !body.is_end_stream() {
        return Err(Cause::BodyEncoded);
    }
    let mut part = room.reading.begin();
    let payload = tokio::select! {
        biased;
        payload = read(body, held, max_body, expects, &mut part) => payload?,
        () = room.shutdown.impatient() => return Err(Cause::CutOff(Fate::NotSent)),
    };
    let form = match &payload {
        Payload::Held { bytes, .. } if is_form(&head.headers) => Some(&bytes[..]),
        _ => None,
    };
    if let Some(fault) = form.and_then(|form| overrides::in_parameters(&String::from_utf8_lossy(form))) {
        return Err(Cause::InvalidPayload(vec![fault]));
    }
    if has_rules(route) {
        check(&route.parameters, route.validation, target.query(), form).map_err(Cause::InvalidPayload)?;
    }
    Ok(Call {
        subject,
        method: head.method,
        target,
        headers: head.headers,
        payload,
        ready_at: clock::now(),
        entrance: Entrance::Newcomer,
        departure: Departure::default(),
        trail: head.extensions.remove::<Trail>().unwrap_or_default(),
    })
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

/// A form, or unmarked: then the sample calls of Zoho's pages mean a form.
fn is_form(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::CONTENT_TYPE) || is_marked_as_form(headers)
}

/// What every server reads as a form.
fn is_marked_as_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split([';', ',']).next().unwrap_or_default();
    kind.trim().trim_matches('"').eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Whether a body is compressed or in a charset of its own, so that Zoho would see another one than the rules.
fn is_encoded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let charset = |parameter: &str| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    };
    let mut charsets = kind.split(';').skip(1).filter_map(charset);
    codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
        || charsets.any(|charset| !matches!(charset.as_str(), "utf-8" | "utf8" | "us-ascii"))
}

/// Reads up to `held` bytes; what is longer streams on, up to `max_body`. Who `expects` to be told before it sends is not
/// sending yet.
async fn read(
    mut incoming: Incoming,
    held: u64,
    max_body: u64,
    expects: bool,
    part: &mut Part,
) -> Result<Payload, Cause> {
    let too_large = Cause::BodyTooLarge { limit: max_body };
    if incoming.size_hint().lower() > max_body {
        if !expects {
            drain(incoming).await;
        }
        return Err(too_large);
    }
    if incoming.size_hint().lower() > held {
        return Ok(Payload::Streamed(Body::from(incoming).at_most(max_body)));
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
        if length > max_body {
            drain(incoming).await;
            return Err(too_large);
        }
        if length > held {
            let head = first.unwrap_or_else(|| collected.freeze());
            return Ok(Payload::Streamed(Body::streamed(head, incoming).at_most(max_body - length)));
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
