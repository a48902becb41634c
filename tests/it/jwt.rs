//! Callers with a token (JWT, RFC 7519) of a configured issuer: which tokens are accepted and which are rejected, and
//! where the keys come from.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp, jwk::Jwk};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::support::{
    COURSE, Call, Gateway, HASH_OF_ONE, Reply, Sandbox, Setup, Terminator, Upstream, all, get, ms, until,
};

const ISSUER: &str = "https://kubernetes.default.svc";
const SUBJECT: &str = "system:serviceaccount:hr:payroll";
const CHALLENGE: &str = "Bearer realm=\"zoho-gateway\", error=\"invalid_token\"";

/// A key that signs with ES256, and its id.
struct Signer {
    id: String,
    pair: KeyPair,
}

impl Signer {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), pair: KeyPair::generate().expect("a key") }
    }

    fn key(&self) -> EncodingKey {
        EncodingKey::from_ec_der(&self.pair.serialize_der())
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.id, claims)
    }

    /// Signs with the id of another key.
    fn sign_as(&self, id: &str, claims: &Value) -> String {
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &self.key()).expect("a token")
    }
}

/// The key set that an issuer publishes.
fn jwks(signers: &[&Signer]) -> String {
    let key = |signer: &&Signer| {
        let mut jwk = Jwk::from_encoding_key(&signer.key(), Algorithm::ES256).expect("a public key");
        jwk.common.key_id = Some(signer.id.clone());
        serde_json::to_value(jwk).expect("JSON")
    };
    json!({ "keys": signers.iter().map(key).collect::<Vec<_>>() }).to_string()
}

/// The claims of a Kubernetes service account's token.
fn claims() -> Value {
    let now = get_current_timestamp();
    json!({ "iss": ISSUER, "sub": SUBJECT, "aud": ["zoho-gateway"], "iat": now, "nbf": now, "exp": now + 600,
            "kubernetes.io": { "namespace": "hr", "serviceaccount": { "name": "payroll" } } })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn showing(token: &str) -> Call {
    get(COURSE).header("authorization", &format!("Bearer {token}"))
}

/// An issuer that answers as the test says, at first with these keys.
struct Issuer {
    server: Upstream,
    reply: Arc<Mutex<Reply>>,
}

impl Issuer {
    async fn publishing(signers: &[&Signer]) -> Self {
        Self::answering(Reply::json(200, &jwks(signers))).await
    }

    async fn answering(reply: Reply) -> Self {
        let reply = Arc::new(Mutex::new(reply));
        let script = Arc::clone(&reply);
        let server = Upstream::bare(move |_| script.lock().expect("no reader panics").clone()).await;
        Self { server, reply }
    }

    fn answers(&self, reply: Reply) {
        *self.reply.lock().expect("no reader panics") = reply;
    }

    fn publishes(&self, signers: &[&Signer]) {
        self.answers(Reply::json(200, &jwks(signers)));
    }

    fn fetches(&self) -> usize {
        self.server.received().len()
    }
}

/// One caller with tokens, and one whose key is its name; the URL of the issuer's keys is still missing.
fn trusting(zoho: &Sandbox) -> Setup {
    Gateway::before(zoho)
        .set("issuers.cluster.issuer", ISSUER)
        .set("issuers.cluster.audience", "zoho-gateway")
        .set("callers.payroll.jwt.issuer", "cluster")
        .set("callers.payroll.jwt.subject", SUBJECT)
        .set("callers.payroll.accounts", json!(["main"]))
        .set("callers.payroll.allow", json!(["people.lms.*"]))
        .set("callers.one.key_sha256", HASH_OF_ONE)
        .set("callers.one.accounts", json!(["main"]))
        .set("callers.one.allow", json!(["*"]))
}

fn at(setup: Setup, issuer: &Issuer) -> Setup {
    setup.set("issuers.cluster.jwks_url", format!("{}/openid/v1/jwks", issuer.server.url()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_token_is_accepted_and_not_forwarded() {
    let zoho = Sandbox::boundless();
    let signer = Signer::new("one");
    let issuer = Issuer::publishing(&[&signer]).await;
    let mut gateway = at(trusting(&zoho), &issuer).start();
    let token = signer.sign(&claims());
    gateway.must_not_print(&token);
    for _ in 0..3 {
        gateway.send(&showing(&token)).await.is_zohos(200);
    }
    // A token does not extend what its caller may do.
    let share = Call::new("GET", crate::support::CALENDAR).header("authorization", &format!("Bearer {token}"));
    gateway.send(&share).await.problem(403, "caller-forbidden");
    // Keys stay valid next to tokens.
    gateway.send(&showing("one")).await.is_zohos(200);
    assert_eq!(issuer.fetches(), 1);
    assert!(issuer.server.only().line.starts_with("GET /openid/v1/jwks "), "{:?}", issuer.server.only());
    for seen in zoho.requests().await {
        assert!(seen.header("authorization").iter().all(|value| value.starts_with("Zoho-oauthtoken ")), "{seen:?}");
    }
    let ready = gateway.admin("/readyz").await.json();
    assert_eq!(ready["checks"]["issuer cluster"], "ok", "{ready}");
    let metrics = gateway.admin("/metrics").await.text();
    let line = "zoho_gateway_issuer_requests_total{issuer=\"cluster\",outcome=\"given\"} 1";
    assert!(metrics.lines().any(|other| other == line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_token_is_rejected_and_never_forwarded() {
    let zoho = Sandbox::boundless();
    let (signer, impostor) = (Signer::new("one"), Signer::new("one"));
    let issuer = Issuer::publishing(&[&signer]).await;
    let mut gateway = at(trusting(&zoho), &issuer).start();
    let now = get_current_timestamp();
    let good = signer.sign(&claims());
    let [head, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let other = signer.sign(&with("sub", "system:serviceaccount:hr:admin"));
    let other_payload = other.split('.').nth(1).expect("a payload");
    let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
    let by_public_key = |secret: &[u8]| encode(&header, &claims(), &EncodingKey::from_secret(secret)).expect("a token");
    for (token, expected) in [
        // {"alg":"none","typ":"JWT"}
        (format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}."), "an algorithm that is never accepted"),
        (by_public_key(signer.pair.public_key_pem().as_bytes()), "an algorithm that is not accepted"),
        (by_public_key(signer.pair.public_key_raw()), "an algorithm that is not accepted"),
        (by_public_key(jwks(&[&signer]).as_bytes()), "an algorithm that is not accepted"),
        (signer.sign(&with("aud", json!(["another-gateway"]))), "another audience"),
        (signer.sign(&with("iss", "https://kubernetes.default.svc/")), "an issuer that is not configured"),
        (signer.sign(&with("exp", now - 60)), "has expired"),
        (signer.sign(&with("exp", Value::Null)), "no expiry"),
        (signer.sign(&with("nbf", now + 300)), "not valid yet"),
        (signer.sign(&with("iat", now + 300)), "not valid yet"),
        (other.clone(), "a subject that belongs to no caller"),
        (format!("{head}.{other_payload}.{signature}"), "a bad signature"),
        (format!("{head}.{payload}.{}", "A".repeat(86)), "a bad signature"),
        (impostor.sign(&claims()), "a bad signature"),
        (signer.sign(&with("padding", "x".repeat(8 * 1024))), "too long"),
    ] {
        gateway.must_not_print(&token);
        let answer = gateway.send(&showing(&token)).await;
        let body = answer.problem(401, "caller-unauthenticated");
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(expected)), "{expected}: {body}");
        assert_eq!(answer.header("www-authenticate"), Some(CHALLENGE), "{expected}");
        assert!(!answer.text().contains(&token), "{expected}");
    }
    // A value that is not a token is taken as a key, here an unknown one.
    let answer = gateway.send(&showing("two")).await;
    answer.problem(401, "caller-unauthenticated");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"zoho-gateway\""));
    assert_eq!((zoho.requests().await.len(), zoho.token_calls().await, issuer.fetches()), (0, 0, 1));
    gateway.send(&showing(&good)).await.is_zohos(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_is_fetched_once_and_at_once() {
    let zoho = Sandbox::boundless();
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let issuer = Issuer::publishing(&[&old]).await;
    let gateway = at(trusting(&zoho), &issuer).start();
    gateway.send(&showing(&old.sign(&claims()))).await.is_zohos(200);
    issuer.publishes(&[&old, &new]);
    let calls = (0..10).map(|_| showing(&new.sign(&claims())).sending(gateway.address()));
    for answer in all(calls).await {
        answer.is_zohos(200);
    }
    gateway.send(&showing(&old.sign(&claims()))).await.is_zohos(200);
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invented_key_ids_cause_one_fetch() {
    let zoho = Sandbox::boundless();
    let signer = Signer::new("one");
    let issuer = Issuer::publishing(&[&signer]).await;
    let gateway = at(trusting(&zoho), &issuer).start();
    gateway.send(&showing(&signer.sign(&claims()))).await.is_zohos(200);
    // The fetch is slow, so that the flood begins before it ends and goes on after it.
    issuer.answers(Reply::json(200, &jwks(&[&signer])).after(ms(300)));
    for _ in 0..2 {
        let calls = (0..100)
            .map(|number| showing(&signer.sign_as(&format!("made-up-{number}"), &claims())).sending(gateway.address()));
        for answer in all(calls).await {
            let body = answer.problem(401, "caller-unauthenticated");
            assert!(body["detail"].to_string().contains("a key that its issuer does not publish"), "{body}");
        }
    }
    assert_eq!((issuer.fetches(), zoho.requests().await.len()), (2, 1));
    // A token that is invalid whatever its key causes no fetch.
    gateway.send(&showing(&signer.sign_as("other", &with("exp", 0)))).await.problem(401, "caller-unauthenticated");
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_an_unreachable_issuer_is_not_called_invalid() {
    let zoho = Sandbox::boundless();
    let signer = Signer::new("one");
    let call = showing(&signer.sign(&claims()));
    let failing = async |reply| {
        let issuer = Issuer::answering(reply).await;
        let mut gateway = at(trusting(&zoho), &issuer).start();
        gateway.must_not_print(&signer.sign(&claims()));
        let body = gateway.send(&call).await.problem(503, "issuer-unavailable");
        assert!(body["detail"].to_string().contains("issuers.cluster"), "{body}");
        assert_ne!(issuer.fetches(), 0);
        (issuer, gateway)
    };
    for reply in [
        Reply::json(503, "{}"),
        Reply::with(302, "Location: http://127.0.0.1:1/\r\n", b""),
        Reply::json(200, "<html>"),
        Reply::json(200, r#"{"keys":[]}"#),
        Reply::json(200, &" ".repeat(300 * 1024)),
    ] {
        failing(reply).await;
    }
    let (issuer, gateway) = failing(Reply::Close).await;
    // Other callers are served, and the gateway is ready.
    gateway.send(&showing("one")).await.is_zohos(200);
    let ready = gateway.admin("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(!ready.json()["checks"]["issuer cluster"].to_string().contains("ok"), "{ready:?}");
    // A token with an obvious fault is rejected as such.
    gateway.send(&showing(&signer.sign(&with("exp", 0)))).await.problem(401, "caller-unauthenticated");

    issuer.publishes(&[&signer]);
    until("the keys are fetched", async || gateway.send(&call).await.status == 200).await;
    assert_eq!(gateway.admin("/readyz").await.json()["checks"]["issuer cluster"], "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_call_waits_for_the_first_keys() {
    let zoho = Sandbox::boundless();
    let signer = Signer::new("one");
    let issuer = Issuer::answering(Reply::json(200, &jwks(&[&signer])).after(ms(700))).await;
    let gateway = at(trusting(&zoho), &issuer).start();
    let calls = (0..20).map(|_| showing(&signer.sign(&claims())).sending(gateway.address()));
    for answer in all(calls).await {
        answer.is_zohos(200);
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_stay_valid_without_refresh_and_end_when_withdrawn() {
    let zoho = Sandbox::boundless();
    let (signer, other) = (Signer::new("one"), Signer::new("other"));
    let issuer = Issuer::publishing(&[&signer]).await;
    let gateway = at(trusting(&zoho), &issuer).set("issuers.cluster.refresh", "1s").start();
    let call = showing(&signer.sign(&claims()));
    gateway.send(&call).await.is_zohos(200);
    issuer.answers(Reply::json(500, "{}"));
    let before = issuer.fetches();
    issuer.server.until_received(before + 2).await;
    gateway.send(&call).await.is_zohos(200);
    gateway.process().logs("could not fetch an issuer's keys");
    let check = gateway.admin("/readyz").await.json()["checks"]["issuer cluster"].to_string();
    assert!(check.contains("status 500"), "{check}");

    issuer.publishes(&[&other]);
    let before = issuer.fetches();
    issuer.server.until_received(before + 2).await;
    gateway.send(&call).await.problem(401, "caller-unauthenticated");
    gateway.send(&showing(&other.sign(&claims()))).await.is_zohos(200);

    issuer.publishes(&[]);
    let before = issuer.fetches();
    issuer.server.until_received(before + 2).await;
    gateway.send(&showing(&other.sign(&claims()))).await.problem(401, "caller-unauthenticated");
    gateway.process().logged(|line| line.contains("the issuer publishes no key").then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_keys_is_watched() {
    let zoho = Sandbox::boundless();
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let setup = trusting(&zoho).set("issuers.cluster.jwks_file", "jwks.json");
    let write = |text: &str| {
        fs::write(setup.path("jwks.new"), text).expect("written");
        fs::rename(setup.path("jwks.new"), setup.path("jwks.json")).expect("in place");
    };
    write(&jwks(&[&old]));
    let gateway = setup.start();
    gateway.send(&showing(&old.sign(&claims()))).await.is_zohos(200);
    gateway.send(&showing(&new.sign(&claims()))).await.problem(401, "caller-unauthenticated");
    write("nonsense");
    gateway.process().logs("an issuer's key file cannot be used");
    gateway.send(&showing(&old.sign(&claims()))).await.is_zohos(200);
    write(&jwks(&[&new]));
    let new = showing(&new.sign(&claims()));
    until("the file is read again", async || gateway.send(&new).await.status == 200).await;
    gateway.send(&showing(&old.sign(&claims()))).await.problem(401, "caller-unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_with_its_own_authority_is_trusted_only_with_it() {
    let zoho = Sandbox::boundless();
    let signer = Signer::new("one");
    let issuer = Issuer::publishing(&[&signer]).await;
    let front = Terminator::before(issuer.server.address()).await;
    let setup = trusting(&zoho).set("issuers.cluster.jwks_url", format!("{}/jwks", front.url()));
    front.write_authority(&setup.path("ca.pem"));
    let call = showing(&signer.sign(&claims()));
    let gateway = setup.clone().set("issuers.cluster.ca_file", "ca.pem").start();
    gateway.send(&call).await.is_zohos(200);
    drop(gateway);
    let gateway = setup.start();
    gateway.send(&call).await.problem(503, "issuer-unavailable");
    assert_eq!(issuer.fetches(), 1, "nothing was asked of a server that is not known");
}
