//! The trace of a request (W3C Trace Context): the span of the request, and the spans of its parts as its children.
//!
//! Without tracing, or if the request is not sampled, everything here is empty: it allocates nothing, makes no id and reads
//! no clock.

use std::{borrow::Cow, fmt, sync::Arc};

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    },
};
pub use opentelemetry::{Value, trace::SpanKind};
use opentelemetry_sdk::trace::{self as sdk, SdkTracer};

/// The most of `tracestate` that is kept (W3C Trace Context section 3.3.1.5 asks for at least so much), because each span
/// holds it.
const LONGEST_STATE: usize = 512;

/// Makes spans that are children of one span. The default makes none.
#[derive(Debug, Clone, Default)]
pub struct Trace(Option<Arc<Parent>>);

#[derive(Debug)]
struct Parent {
    tracer: SdkTracer,
    context: Context,
}

/// A span, which ends when it is dropped. The default is not recorded.
#[derive(Debug, Default)]
pub struct Span(Option<Box<sdk::Span>>);

/// Identifies a span in all processes. Its text is the value of `traceparent`.
#[derive(Debug, Clone)]
pub struct TraceParent(SpanContext);

// === impl Trace ===

impl Trace {
    /// Whether its spans are recorded.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Starts a child for a part of the request in this process.
    #[must_use]
    pub fn part(&self, name: &'static str) -> Span {
        self.child(name, SpanKind::Internal)
    }

    /// Starts a child.
    #[must_use]
    pub fn child(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Span {
        let Some(Parent { tracer, context }) = self.0.as_deref() else { return Span::default() };
        Span::start(tracer, name.into(), kind, context).0
    }

    /// The span whose children it makes.
    #[must_use]
    pub fn parent(&self) -> Option<TraceParent> {
        self.0.as_ref().map(|parent| TraceParent(parent.context.span().span_context().clone()))
    }
}

// === impl Span ===

impl Span {
    /// Starts a span below that of another process, or a new trace, and gives its id, also if it is not recorded.
    #[must_use]
    pub fn begin(tracer: &SdkTracer, parent: Option<TraceParent>, kind: SpanKind) -> (Self, TraceParent) {
        let context = Context::new();
        let context = parent.map_or(context.clone(), |TraceParent(parent)| context.with_remote_span_context(parent));
        Self::start(tracer, Cow::Borrowed(""), kind, &context)
    }

    fn start(tracer: &SdkTracer, name: Cow<'static, str>, kind: SpanKind, parent: &Context) -> (Self, TraceParent) {
        let span = tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind), parent);
        let id = TraceParent(span.span_context().clone());
        (Self(span.is_recording().then(|| Box::new(span))), id)
    }

    /// Makes children of this span.
    #[must_use]
    pub fn trace(&self, tracer: &SdkTracer) -> Trace {
        Trace(self.0.as_ref().map(|span| {
            let context = Context::new().with_remote_span_context(span.span_context().clone());
            Arc::new(Parent { tracer: tracer.clone(), context })
        }))
    }

    /// Whether it is recorded.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Names it; `name` is called only if it is recorded.
    pub fn name(&mut self, name: impl FnOnce() -> String) {
        if let Some(span) = &mut self.0 {
            span.update_name(name());
        }
    }

    /// Sets an attribute if there is a value; it is asked for only if the span is recorded.
    pub fn set<V: Into<Value>>(&mut self, key: &'static str, value: impl FnOnce() -> Option<V>) {
        if let Some(span) = &mut self.0
            && let Some(value) = value()
        {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Marks it as failed, with a name of the failure from a limited set.
    pub fn fail(&mut self, kind: impl FnOnce() -> Cow<'static, str>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new("error.type", kind()));
            span.set_status(Status::error(""));
        }
    }
}

// === impl TraceParent ===

impl TraceParent {
    /// The span that a request names as its parent; `None` without a valid field.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all("traceparent").iter();
        let (Some(parent), None) = (fields.next(), fields.next()) else { return None };
        let mut lines = headers.get_all("tracestate").iter().map(|line| line.to_str());
        let state: Option<Vec<_>> = lines.by_ref().map(Result::ok).collect();
        let state = state.map(|lines| lines.join(",")).filter(|state| state.len() <= LONGEST_STATE);
        Self::parse(parent.to_str().ok()?, &state.unwrap_or_default())
    }

    /// The span that its text names.
    #[must_use]
    pub fn restored(text: &str) -> Option<Self> {
        Self::parse(text, "")
    }

    /// Reads the two fields (W3C Trace Context sections 3.2.2 and 3.3). An invalid state is left out.
    fn parse(parent: &str, state: &str) -> Option<Self> {
        let is_hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let mut parts = parent.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // A later version may have more parts.
        let has_end = version != "00" || parts.next().is_none();
        if !(is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2) && has_end)
            || version == "ff"
        {
            return None;
        }
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let context = SpanContext::new(trace, span, flags, true, state.parse::<TraceState>().unwrap_or_default());
        context.is_valid().then_some(Self(context))
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(context) = self;
        write!(f, "00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parent(fields: &[(&'static str, &str)]) -> Option<TraceParent> {
        let field = |&(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        TraceParent::of(&fields.iter().map(field).collect())
    }

    #[test]
    fn reads_the_fields_of_w3c_trace_context() {
        assert_eq!(parent(&[("traceparent", PARENT)]).unwrap().to_string(), PARENT);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-more";
        assert_eq!(parent(&[("traceparent", later)]).unwrap().to_string(), PARENT);
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        for wrong in [
            String::new(),
            "00".to_owned(),
            format!("ff-{trace}-{span}-01"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}-{span}-1"),
            format!("00-+{}-{span}-01", &trace[1..]),
        ] {
            assert!(parent(&[("traceparent", &wrong)]).is_none(), "{wrong}");
        }
        assert!(parent(&[("traceparent", PARENT), ("traceparent", PARENT)]).is_none(), "ambiguous");
    }

    #[test]
    fn keeps_a_valid_and_short_state() {
        let state = |lines: &[&str]| {
            let lines = lines.iter().map(|line| ("tracestate", *line));
            let fields: Vec<_> = [("traceparent", PARENT)].into_iter().chain(lines).collect();
            parent(&fields).unwrap().0.trace_state().header()
        };
        assert_eq!(state(&["a=1,b=2", "c=3"]), "a=1,b=2,c=3");
        assert_eq!(state(&["no state"]), "");
        assert_eq!(state(&[&format!("a={}", "1".repeat(LONGEST_STATE))]), "");
    }

    #[test]
    fn without_tracing_nothing_is_asked_for() {
        let mut span = Trace::default().part("queue");
        span.set("key", || -> Option<bool> { unreachable!("nobody records it") });
        span.fail(|| unreachable!("nobody records it"));
        span.name(|| unreachable!("nobody records it"));
        assert!(Trace::default().parent().is_none());
        assert_eq!((size_of::<Trace>(), size_of::<Span>()), (size_of::<usize>(), size_of::<usize>()));
    }
}
