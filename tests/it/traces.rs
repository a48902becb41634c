//! Traces: which spans a request has, and that a collector without an answer disturbs nothing.

use serde_json::{Value, json};

use crate::support::{
    COURSE, Collector, Gateway, Reply, SHARE, Sandbox, SentSpan, Setup, Upstream, all, free_port, get, ms, put,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

fn traced(setup: Setup, collector: &str) -> Setup {
    setup.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector).env("OTEL_BSP_SCHEDULE_DELAY", "50")
}

/// Names and kinds of the children of a span, in order.
fn children<'a>(spans: &'a [SentSpan], parent: &SentSpan) -> Vec<(&'a str, u64)> {
    let of_parent = spans.iter().filter(|span| span.parent == parent.id);
    of_parent.map(|span| (span.name.as_str(), span.kind)).collect()
}

fn line_of(gateway: &Gateway, request_id: &str) -> Value {
    gateway.process().logged(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["request_id"] == request_id && line["took_ms"].is_number() && line["client"].is_string()).then_some(line)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_has_a_span_with_children_for_queue_token_and_each_attempt() {
    let (zoho, collector) = (Sandbox::boundless(), Collector::start().await);
    let setup = traced(Gateway::before(&zoho), &collector.url())
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=tracing-key-5521")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test");
    let mut gateway = setup.start();
    gateway.must_not_print("tracing-key-5521");
    gateway.send(&get(COURSE)).await.is_zohos(200);
    zoho.pull("revoke-access-tokens").await;
    let call = put(COURSE).form(SHARE).header("x-request-id", "twice").header("traceparent", CALLER);
    gateway.send(&call.header("tracestate", "vendor=1").header("user-agent", "course-sync/2")).await.is_zohos(200);

    let spans = collector.trace_of("twice").await;
    let root = &spans[0];
    let template = "/api/v1/courses/{courseId}/share";
    assert_eq!(
        (root.trace.as_str(), root.parent.as_str(), root.state.as_str()),
        (TRACE, "00f067aa0ba902b7", "vendor=1")
    );
    assert_eq!((root.name.as_str(), root.kind, root.failed), (&*format!("PUT {template}"), SERVER, false));
    for (name, value) in [
        ("http.request.method", "PUT"),
        ("http.route", template),
        ("url.path", template),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "course-sync/2"),
        ("zoho_gateway.account", "main"),
        ("zoho_gateway.route", "people.lms.share-course"),
        ("zoho_gateway.caller", "anonymous"),
        ("zoho_gateway.outcome", "answered"),
    ] {
        assert_eq!(root.attribute(name), Some(value), "{root:#?}");
    }
    for (name, value) in [("service.name", "zoho-gateway"), ("deployment.environment.name", "test")] {
        assert_eq!(root.resource[name], value, "{:?}", root.resource);
    }
    let attempt = [("queue", INTERNAL), ("token", INTERNAL), ("PUT", CLIENT)];
    assert_eq!(children(&spans, root), [attempt, attempt].concat(), "{spans:#?}");
    assert_eq!(spans.len(), 7, "nothing else");
    let [refused, executed] = [&spans[3], &spans[6]];
    assert!(refused.is("error.type", "token_refused") && refused.failed, "{refused:#?}");
    assert!(executed.is("http.response.status_code", "200") && !executed.failed, "{executed:#?}");
    assert!(executed.is("http.request.resend_count", "1"), "{executed:#?}");
    assert!(executed.is("server.address", "127.0.0.1") && executed.attribute("server.port").is_some(), "{executed:#?}");
    assert_eq!(executed.attribute("url.full"), Some(&*format!("{}{template}", zoho.url())), "without ids and query");
    for pair in spans[1..].windows(2) {
        assert!(pair[0].end <= pair[1].start && root.start <= pair[0].start && pair[1].end <= root.end, "{spans:#?}");
    }
    let line = line_of(&gateway, "twice");
    assert_eq!(line["traceparent"], format!("00-{TRACE}-{}-01", root.id), "{line}");
    assert_eq!((&line["attempts"], &line["message"]), (&json!(2), &json!("answered")), "{line}");
    assert_eq!(collector.header("x-api-key"), ["tracing-key-5521"]);
    assert_eq!(collector.header("content-type"), ["application/x-protobuf"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_answers_refusals_and_jobs_have_their_own_spans() {
    let (zoho, collector) = (Sandbox::boundless(), Collector::start().await);
    let setup = traced(Gateway::before(&zoho), &collector.url())
        .route("people.lms.get-shared-users", "cache", "1m")
        .route("people.lms.share-course", "requests", 1);
    let gateway = setup.start();
    let own = |id: &str| format!("{id}-request");
    let ask = async |call: crate::support::Call, id: &str| gateway.send(&call.header("x-request-id", &own(id))).await;
    ask(get(COURSE), "miss").await.is_zohos(200);
    ask(get(COURSE), "hit").await;
    ask(put(COURSE).form("erecnosList=[]"), "invalid").await.problem(400, "invalid-payload");
    let job = ask(put(COURSE).form(SHARE).header("prefer", "respond-async"), "job").await;
    assert_eq!(job.status, 202, "{job:?}");
    let location = job.header("location").expect("a job").to_owned();
    crate::support::until("the job is done", async || gateway.send(&get(&location)).await.json()["state"] == "done")
        .await;
    ask(put(COURSE).form(SHARE).header("prefer", "wait=0"), "late").await.problem(429, "threshold-saturated");

    let miss = collector.trace_of(&own("miss")).await;
    let attempt = [("queue", INTERNAL), ("token", INTERNAL), ("GET", CLIENT)];
    assert_eq!(children(&miss, &miss[0]), attempt, "{miss:#?}");
    assert_eq!((miss[0].parent.as_str(), miss[0].attribute("zoho_gateway.cache")), ("", Some("miss")), "{miss:#?}");

    let hit = collector.trace_of(&own("hit")).await;
    assert_eq!((hit.len(), hit[0].attribute("zoho_gateway.cache")), (1, Some("hit")), "{hit:#?}");
    assert_ne!(hit[0].trace, miss[0].trace);

    let invalid = collector.trace_of(&own("invalid")).await;
    assert_eq!(
        (invalid.len(), invalid[0].failed),
        (1, false),
        "a client's fault is no error of the server: {invalid:#?}"
    );
    assert!(invalid[0].is("zoho_gateway.problem", "invalid-payload"), "{invalid:#?}");

    let late = collector.trace_of(&own("late")).await;
    assert_eq!(children(&late, &late[0]), [("queue", INTERNAL)], "{late:#?}");
    assert!(late[1].failed && late[1].is("error.type", "threshold-saturated"), "{late:#?}");

    let made = collector.trace_of(&own("job")).await;
    crate::support::until("the span of the job", async || {
        collector.spans().iter().any(|span| span.name.starts_with("job ") && span.trace == made[0].trace)
    })
    .await;
    let made = collector.trace_of(&own("job")).await;
    assert!(made[0].is("http.response.status_code", "202"), "{made:#?}");
    assert_eq!(children(&made, &made[0]), [("job people.lms.share-course", INTERNAL)], "{made:#?}");
    let job = made.iter().find(|span| span.name.starts_with("job ")).expect("a job");
    assert!(job.attribute("zoho_gateway.job").is_some_and(|id| location.ends_with(id)), "{job:#?}");
    assert_eq!(children(&made, job), [("queue", INTERNAL), ("token", INTERNAL), ("PUT", CLIENT)], "{made:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsampled_request_has_an_id_and_no_span() {
    let (zoho, collector) = (Sandbox::boundless(), Collector::start().await);
    let setup = traced(Gateway::before(&zoho), &collector.url());
    let gateway = setup.env("OTEL_TRACES_SAMPLER", "parentbased_always_off").start();
    let sampled = get(COURSE).header("x-request-id", "sampled").header("traceparent", CALLER);
    gateway.send(&get(COURSE).header("x-request-id", "unsampled")).await.is_zohos(200);
    gateway.send(&sampled).await.is_zohos(200);
    assert_eq!(collector.trace_of("sampled").await.len(), 4);
    assert!(collector.spans().iter().all(|span| span.trace == TRACE), "the caller decides");
    let line = line_of(&gateway, "unsampled");
    assert!(line["traceparent"].as_str().is_some_and(|parent| parent.ends_with("-00")), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_export_the_log_has_the_callers_trace_and_zoho_gets_nothing_of_it() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).env("OTEL_SERVICE_NAME", "gateway").start();
    let call = get(COURSE).header("tracestate", "vendor=1");
    for (id, parent) in [("valid", CALLER), ("invalid", "00-0-0-01")] {
        gateway.send(&call.clone().header("x-request-id", id).header("traceparent", parent)).await.is_zohos(200);
    }
    gateway.send(&get(COURSE).header("x-request-id", "none")).await.is_zohos(200);
    assert_eq!(line_of(&gateway, "valid")["traceparent"], CALLER);
    assert_eq!(line_of(&gateway, "invalid")["traceparent"], Value::Null);
    assert_eq!(line_of(&gateway, "none")["traceparent"], Value::Null);
    let received = upstream.received();
    let named = |name: &str| received.iter().any(|request| !request.header(name).is_empty());
    assert!(!named("traceparent") && !named("tracestate"), "{received:#?}");
}

/// One collector refuses connections, one never answers. The gateway's end checks that it stops well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_collector_delays_and_fails_no_call() {
    let mute = Upstream::bare(|_| Reply::Never).await;
    let closed = format!("http://127.0.0.1:{}", free_port());
    for collector in [closed, mute.url()] {
        let zoho = Sandbox::boundless();
        // A full queue after a few calls.
        let setup = traced(Gateway::before(&zoho), &collector).env("OTEL_BSP_MAX_QUEUE_SIZE", "16");
        let setup = setup.route("people.lms.get-shared-users", "throttle", "off");
        let gateway = setup.env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8").start();
        let address = gateway.address().to_owned();
        for _ in 0..5 {
            let calls = (0..20).map(|_| get(COURSE).sending(&address)).collect::<Vec<_>>();
            let answers = tokio::time::timeout(ms(10_000), all(calls)).await.expect("no call waits for the collector");
            for answer in answers {
                answer.is_zohos(200);
            }
        }
        gateway.process().logs("the collector does not take traces");
        gateway.terminate();
        let warnings = gateway.process().log().iter().filter(|line| line.contains("does not take traces")).count();
        assert_eq!(warnings, 1, "{collector}");
    }
}
