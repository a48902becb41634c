//! The export of traces by OTLP over HTTP, as the standard variables `OTEL_*` say; off unless one of them asks for it.
//!
//! The SDK sends spans in batches, on a thread of its own. Its queue has a limit, and spans that do not fit are dropped, so a
//! collector that does not answer delays nothing.

use std::{env, time::Duration};

use http::{HeaderMap, Uri};
use opentelemetry::{Key, KeyValue, trace::TracerProvider};
use opentelemetry_http::HttpClient;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};

use crate::call::trace::{Span, SpanKind, Trace, TraceParent};

const NAME: &str = "zoho-gateway";

/// The only protocol of the exporter.
const PROTOCOL: &str = "http/protobuf";

/// How long the last spans may take at the end of the process.
const FLUSH: Duration = Duration::from_secs(2);

const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// Starts traces; the default is off.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Export>);

#[derive(Debug, Clone)]
struct Export {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// What the variables say.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Nothing,
    /// The export, and what is wrong with variables that are ignored.
    Export(Vec<String>),
    /// No export, although one is asked for.
    Impossible(String),
}

impl Traces {
    /// Exports as the environment says, with this client; `instance` tells this process from others of its kind.
    #[must_use]
    pub fn from_environment(client: impl HttpClient + 'static, instance: &str) -> Self {
        match wanted(|name| env::var(name).ok()) {
            Wanted::Nothing => Self::default(),
            Wanted::Impossible(reason) => {
                tracing::error!(reason, "no traces are exported");
                Self::default()
            }
            Wanted::Export(ignored) => {
                ignored.iter().for_each(|reason| tracing::warn!(reason, "a variable for traces is ignored"));
                match SpanExporter::builder().with_http().with_http_client(client).build() {
                    Ok(exporter) => Self(Some(Export::new(exporter, instance))),
                    Err(error) => {
                        tracing::error!(reason = %error, "no traces are exported");
                        Self::default()
                    }
                }
            }
        }
    }

    /// Starts the span of a request, as a child of the span that its fields name. Gives what its parts need, and the id for
    /// its log line, which without export is the caller's.
    #[must_use]
    pub fn request(&self, headers: &HeaderMap) -> (Span, Trace, Option<TraceParent>) {
        let parent = TraceParent::of(headers);
        match &self.0 {
            None => (Span::default(), Trace::default(), parent),
            Some(Export { tracer, .. }) => {
                let (span, id) = Span::begin(tracer, parent, SpanKind::Server);
                let trace = span.trace(tracer);
                (span, trace, Some(id))
            }
        }
    }

    /// Starts the span of work that outlives the request with the span `parent`.
    #[must_use]
    pub fn work(&self, parent: Option<TraceParent>) -> (Span, Trace) {
        let (Some(Export { tracer, .. }), Some(parent)) = (&self.0, parent) else { return Default::default() };
        let (span, _) = Span::begin(tracer, Some(parent), SpanKind::Internal);
        let trace = span.trace(tracer);
        (span, trace)
    }

    /// Exports the last spans, unless the collector takes too long.
    pub async fn close(self) {
        let Some(Export { provider, .. }) = self.0 else { return };
        // It waits for the exporting thread, which needs the runtime.
        let closed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH)).await;
        if let Ok(Err(error)) = closed {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

impl Export {
    fn new(exporter: SpanExporter, instance: &str) -> Self {
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource(instance)).build();
        let tracer = provider.tracer(NAME);
        tracing::info!("traces are exported");
        Self { provider, tracer }
    }
}

/// The attributes of the process. Those of the environment take precedence.
fn resource(instance: &str) -> Resource {
    let given = Resource::builder().build();
    let is_named = |name: &str| {
        let value = given.get(&Key::new(name.to_owned()));
        value.is_some_and(|value| !value.as_str().starts_with("unknown_service"))
    };
    let own =
        [("service.name", NAME), ("service.version", env!("CARGO_PKG_VERSION")), ("service.instance.id", instance)];
    let missing = own.into_iter().filter(|(name, _)| !is_named(name));
    let missing = missing.map(|(name, value)| KeyValue::new(name, value.to_owned()));
    Resource::builder().with_attributes(missing.collect::<Vec<_>>()).build()
}

/// Reads the variables. One that is empty counts as not set, as the OpenTelemetry specification says.
fn wanted(variable: impl Fn(&str) -> Option<String>) -> Wanted {
    let variable = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variable(name)?)));
    let endpoint = first(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Wanted::Nothing;
    }
    match variable("OTEL_TRACES_EXPORTER").as_deref() {
        None if endpoint.is_none() => return Wanted::Nothing,
        Some("none") => return Wanted::Nothing,
        None | Some("otlp") => {}
        Some(other) => return Wanted::Impossible(format!("OTEL_TRACES_EXPORTER is {other:?}, expected otlp or none")),
    }
    if let Some((name, protocol)) = first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"])
        && protocol != PROTOCOL
    {
        return Wanted::Impossible(format!("{name} is {protocol:?}, expected {PROTOCOL}"));
    }
    if let Some((name, endpoint)) = endpoint
        && !is_http_url(&endpoint)
    {
        // It may contain a password.
        return Wanted::Impossible(format!("{name} is no URL: expected one such as http://localhost:4318"));
    }
    Wanted::Export(sampler_fault(variable).into_iter().collect())
}

fn is_http_url(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}

/// What is wrong with the sampler; the SDK then takes the default one, or all spans.
fn sampler_fault(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let sampler = variable("OTEL_TRACES_SAMPLER")?;
    if !SAMPLERS.contains(&sampler.as_str()) {
        return Some(format!("OTEL_TRACES_SAMPLER is {sampler:?}, expected one of {}", SAMPLERS.join(", ")));
    }
    let is_ratio = |text: String| text.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio));
    let needs_ratio = sampler.ends_with("traceidratio");
    let fault = needs_ratio && !variable("OTEL_TRACES_SAMPLER_ARG").is_some_and(is_ratio);
    fault.then(|| format!("OTEL_TRACES_SAMPLER_ARG has to be a number from 0 to 1 for {sampler}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(variables: &[(&str, &str)]) -> Wanted {
        wanted(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn traces_are_off_unless_the_environment_asks_for_them() {
        const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        let export = Wanted::Export(Vec::new());
        for (variables, expected) in [
            (&[][..], Wanted::Nothing),
            (&[("OTEL_SERVICE_NAME", "gateway")], Wanted::Nothing),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], Wanted::Nothing),
            (&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")], Wanted::Nothing),
            (&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")], Wanted::Nothing),
            (&[ENDPOINT], export),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://a.example/v1/traces")], Wanted::Export(Vec::new())),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], Wanted::Export(Vec::new())),
            (&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], Wanted::Export(Vec::new())),
        ] {
            assert_eq!(wants(variables), expected, "{variables:?}");
        }
        for variables in [
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "zipkin")][..],
            &[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318")],
        ] {
            assert!(matches!(wants(variables), Wanted::Impossible(_)), "{variables:?}");
        }
        for (sampler, ratio, is_fine) in [
            ("always_off", "", true),
            ("parentbased_traceidratio", "0.25", true),
            ("traceidratio", "", false),
            ("traceidratio", "2", false),
            ("xray", "", false),
        ] {
            let variables = [ENDPOINT, ("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
            let Wanted::Export(faults) = wants(&variables) else { panic!("{sampler}") };
            assert_eq!(faults.is_empty(), is_fine, "{sampler} {faults:?}");
        }
    }
}
