//! The fields by which tracing and monitoring follow a request from service to service.
//!
//! They describe the caller's own systems and mean nothing to Zoho. Each vendor's agents add their own, so the table has
//! those of all known vendors; docs/reference.md shows it to operators.

/// Vendor, and the names in lower case. `*` at the end matches any rest. Names with `_` are listed with `-`.
pub(super) const FIELDS: [(&str, &[&str]); 28] = [
    ("W3C Trace Context and Baggage", &["baggage", "correlation-context", "traceparent", "tracestate"]),
    (
        "OpenTracing, OpenCensus, Lightstep",
        &["grpc-tags-bin", "grpc-trace-bin", "ot-baggage-*", "ot-tracer-*", "x-ot-*"],
    ),
    ("Zipkin, Spring Cloud Sleuth", &["b3", "b3-*", "x-b3-*", "x-process-id", "x-span-export", "x-span-name"]),
    ("Jaeger", &["jaeger-*", "uber-trace-id", "uberctx-*"]),
    ("Haystack, Kamon, Hawkular", &["baggage-*", "context-tags", "hwkapm*"]),
    ("AWS", &["lambda-runtime-trace-id", "x-amz-cf-id", "x-amzn-requestid", "x-amzn-trace-id"]),
    ("Google Cloud", &["x-appengine-request-log-id", "x-cloud-trace-context"]),
    (
        "Azure, Application Insights",
        &[
            "request-context",
            "request-id",
            "x-arr-log-id",
            "x-azure-ref",
            "x-ms-activity-id",
            "x-ms-client-request-id",
            "x-ms-client-session-id",
            "x-ms-correlation-*",
            "x-ms-request-*",
            "x-ms-routing-request-id",
        ],
    ),
    ("Datadog", &["x-datadog-*", "x-dd-*"]),
    ("New Relic", &["newrelic", "newrelic-*", "newrelictransaction", "newrelicid", "x-newrelic-*"]),
    (
        "Dynatrace",
        &[
            "dtdtracetaginfo",
            "x-dtc",
            "x-dthealthcheck",
            "x-dtpc",
            "x-dtreferer",
            "x-dynatrace",
            "x-dynatrace-*",
            "x-ruxit-*",
        ],
    ),
    ("Elastic APM", &["elastic-apm-*"]),
    ("IBM, Instana", &["arm-correlator", "x-global-transaction-id", "x-instana-*"]),
    ("AppDynamics", &["adrum", "adrum-*", "appd-*", "singularityheader", "x-appd-*", "x-singularityheader"]),
    ("Sentry", &["sentry-*"]),
    ("Honeycomb, Wavefront", &["wf-ot-*", "x-honeycomb-*"]),
    ("SolarWinds", &["x-trace", "x-trace-options", "x-trace-options-signature"]),
    ("SAP", &["sap-passport", "sap-perf-fesrec", "x-sap-passport"]),
    ("Oracle", &["ecid-context", "opc-request-id", "x-oracle-dms-*"]),
    ("Broadcom, Riverbed", &["corid", "x-opnet-*", "x-wily-*"]),
    ("Mule", &["mule-correlation-*", "x-mule-*"]),
    ("SkyWalking, Pinpoint, Scouter, WhaTap", &["pinpoint-*", "sw3", "sw6", "sw8", "sw8-*", "x-scouter-*", "x-wtap-*"]),
    (
        "Alibaba, Tingyun, OneAPM",
        &["eagleeye-*", "sofa-*", "x-ca-request-id", "x-eagleeye-*", "x-oneapm-*", "x-tingyun", "x-tingyun-*"],
    ),
    (
        "Envoy, Istio, Linkerd, Kong",
        &["kong-debug", "l5d-*", "x-client-trace-id", "x-envoy-*", "x-istio-*", "x-kong-*"],
    ),
    (
        "Cloudflare, Akamai, Fastly, Fly, Vercel",
        &[
            "akamai-*",
            "cf-ray",
            "fastly-trace",
            "fly-request-id",
            "x-akamai-*",
            "x-nf-request-id",
            "x-railway-request-id",
            "x-vercel-*",
        ],
    ),
    ("OpenStack, ByteDance", &["x-openstack-request-id", "x-trace-hmac", "x-trace-info", "x-tt-logid", "x-tt-trace-*"]),
    ("Queue times of routers", &["x-middleware-start", "x-queue-start", "x-request-start"]),
    (
        "Ids of requests in general use",
        &[
            "correlation-id",
            "correlationid",
            "parent-id",
            "requestid",
            "span-id",
            "spanid",
            "trace-id",
            "traceid",
            "tracing-id",
            "tracingid",
            "x-b3",
            "x-correlation-context",
            "x-correlation-id",
            "x-correlationid",
            "x-flow-id",
            "x-log-id",
            "x-parent-id",
            "x-parent-span-id",
            "x-req-id",
            "x-request-id",
            "x-requestid",
            "x-span-id",
            "x-spanid",
            "x-trace-id",
            "x-traceid",
            "x-tracing-id",
            "x-transaction-id",
            "x-vcap-request-id",
        ],
    ),
];

/// Whether a field is in the table.
pub(super) fn is_tracing(name: &str) -> bool {
    FIELDS.iter().flat_map(|(_, names)| *names).any(|known| match known.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *known,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_agents_fields_are_known() {
        for name in [
            "traceparent",
            "elastic-apm-traceparent",
            "newrelic",
            "x-newrelic-transaction",
            "x-dynatrace",
            "x-dtpc",
            "x-instana-t",
            "x-instana-synthetic",
            "request-id",
            "request-context",
            "correlation-context",
            "sap-passport",
            "x-b3-sampled",
            "uber-trace-id",
            "uberctx-user",
            "jaeger-debug-id",
            "x-datadog-parent-id",
            "x-amzn-trace-id",
            "ot-tracer-spanid",
            "x-ot-span-context",
            "sw8",
            "sw8-correlation",
            "pinpoint-pspanid",
            "singularityheader",
            "x-ms-request-root-id",
            "x-ms-client-request-id",
            "x-trace",
            "wf-ot-traceid",
            "x-honeycomb-trace",
            "l5d-ctx-trace",
        ] {
            assert!(is_tracing(name), "{name}");
        }
    }

    #[test]
    fn fields_of_calls_are_not_tracing_fields() {
        for name in [
            "accept",
            "accept-encoding",
            "accept-language",
            "content-type",
            "etag",
            "if-match",
            "range",
            "user-agent",
            "origin",
            "x-requested-with",
            "x-zcsrf-token",
            "x-com-zoho-people-orgid",
            "orgid",
            "x-upload-id",
            "idempotency-key",
            "sw",
            "x-trace-of-changes",
            "trace",
            "request",
            "swim",
        ] {
            assert!(!is_tracing(name), "{name}");
        }
    }

    #[test]
    fn the_table_is_in_order() {
        for (who, names) in FIELDS {
            assert!(names.iter().all(|name| *name == name.to_ascii_lowercase() && !name.contains('_')), "{who}");
        }
        let mut all: Vec<_> = FIELDS.iter().flat_map(|(_, names)| *names).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "each name once");
    }
}
