//! A collector of traces: it takes OTLP over HTTP and keeps the spans. It reads protobuf itself, so that it shares nothing
//! with the exporter.

use std::collections::BTreeMap;

use super::{Reply, Upstream, until};

/// A running collector.
pub(crate) struct Collector(Upstream);

/// A span as it was sent.
#[derive(Debug, Clone)]
pub(crate) struct SentSpan {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) state: String,
    pub(crate) name: String,
    /// 1 internal, 2 server, 3 client.
    pub(crate) kind: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Whether its status is an error.
    pub(crate) failed: bool,
    pub(crate) attributes: BTreeMap<String, String>,
    /// The attributes of its process.
    pub(crate) resource: BTreeMap<String, String>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self(Upstream::bare(|_| Reply::with(200, "Content-Type: application/x-protobuf\r\n", b"")).await)
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// The value of a header field in its requests.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let received = self.0.received();
        received
            .first()
            .map(|request| request.header(name).into_iter().map(str::to_owned).collect())
            .unwrap_or_default()
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<SentSpan> {
        let received = self.0.received();
        assert!(received.iter().all(|request| request.line == "POST /v1/traces HTTP/1.1"), "{received:?}");
        received.iter().flat_map(|request| spans(&request.body)).collect()
    }

    /// The trace that has a request with this id, as soon as its request has ended: that span first, then its descendants
    /// in the order of their starts.
    pub(crate) async fn trace_of(&self, request_id: &str) -> Vec<SentSpan> {
        let find = || self.spans().into_iter().find(|span| span.is("zoho_gateway.request_id", request_id));
        until(format!("the span of {request_id}"), async || find().is_some()).await;
        let root = find().expect("it is there");
        let mut spans: Vec<_> = self.spans().into_iter().filter(|span| span.trace == root.trace).collect();
        spans.retain(|span| span.id != root.id);
        spans.sort_by_key(|span| span.start);
        spans.insert(0, root);
        spans
    }
}

impl SentSpan {
    pub(crate) fn is(&self, attribute: &str, value: &str) -> bool {
        self.attribute(attribute) == Some(value)
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// The spans of an `ExportTraceServiceRequest`.
fn spans(message: &[u8]) -> Vec<SentSpan> {
    let mut found = Vec::new();
    for resource_spans in messages(message, 1) {
        let resource: BTreeMap<_, _> =
            messages(resource_spans, 1).into_iter().flat_map(|of| attributes(of, 1)).collect();
        for span in messages(resource_spans, 2).into_iter().flat_map(|scope| messages(scope, 2)) {
            found.push(self::span(span, resource.clone()));
        }
    }
    found
}

fn span(message: &[u8], resource: BTreeMap<String, String>) -> SentSpan {
    let bytes = |field| messages(message, field).first().copied().unwrap_or_default();
    let hex = |field| bytes(field).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let text = |field| String::from_utf8(bytes(field).to_vec()).expect("UTF-8");
    let number = |field| numbers(message, field).first().copied().unwrap_or_default();
    SentSpan {
        trace: hex(1),
        id: hex(2),
        state: text(3),
        parent: hex(4),
        name: text(5),
        kind: number(6),
        start: number(7),
        end: number(8),
        failed: messages(message, 15).iter().any(|status| numbers(status, 3) == [2]),
        attributes: attributes(message, 9).into_iter().collect(),
        resource,
    }
}

/// The `KeyValue`s in a field, each key once.
fn attributes(message: &[u8], field: u64) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let mut read = Vec::new();
    for pair in messages(message, field) {
        let (key, value) = (text(messages(pair, 1)[0]), messages(pair, 2)[0]);
        let value = messages(value, 1).first().map(|value| text(value)).unwrap_or_else(|| {
            let number = [2, 3].into_iter().flat_map(|field| numbers(value, field)).next();
            number.expect("a text, a boolean or an integer").to_string()
        });
        assert!(read.iter().all(|(other, _)| *other != key), "{key} is there twice");
        read.push((key, value));
    }
    read
}

/// The values of a field that have a length: texts, bytes and messages.
fn messages(message: &[u8], field: u64) -> Vec<&[u8]> {
    let fields = fields(message).into_iter().filter(|(number, _)| *number == field);
    fields.filter_map(|(_, value)| if let Value::Bytes(bytes) = value { Some(bytes) } else { None }).collect()
}

/// The values of a field that are numbers.
fn numbers(message: &[u8], field: u64) -> Vec<u64> {
    let fields = fields(message).into_iter().filter(|(number, _)| *number == field);
    fields.filter_map(|(_, value)| if let Value::Number(number) = value { Some(number) } else { None }).collect()
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message.
fn fields(mut message: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut message)),
            1 => Value::Number(u64::from_le_bytes(take(&mut message, 8).try_into().expect("eight bytes"))),
            2 => {
                let length = usize::try_from(varint(&mut message)).expect("a length");
                Value::Bytes(take(&mut message, length))
            }
            5 => {
                let bytes = take(&mut message, 4).try_into().expect("four bytes");
                Value::Number(u32::from_le_bytes(bytes).into())
            }
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, value));
    }
    fields
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(message, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
    }
    panic!("a number of more than 64 bits")
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = message.split_at(length);
    *message = rest;
    taken
}
