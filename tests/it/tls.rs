//! Zoho over TLS: trusted with the right authority, rejected without.

use crate::support::{COURSE, Sandbox, Setup, Terminator, get};

fn before(front: &Terminator) -> Setup {
    Setup::before_all(&front.url(), &front.url(), &front.url())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_under_a_known_authority_is_trusted() {
    let zoho = Sandbox::boundless();
    let front = Terminator::before(zoho.address()).await;
    let setup = before(&front).set("upstream.ca_file", "ca.pem");
    front.write_authority(&setup.path("ca.pem"));
    let gateway = setup.start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let [seen] = &zoho.requests().await[..] else { panic!("one request") };
    assert_eq!(seen.header("host"), [front.url().trim_start_matches("https://")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_under_an_unknown_authority_gets_no_call() {
    let zoho = Sandbox::boundless();
    let front = Terminator::before(zoho.address()).await;
    // The accounts server is plain HTTP, so that the call is the first to see the certificate.
    let gateway = before(&front).set("accounts.main.endpoints.accounts", zoho.url()).start();
    let answer = gateway.send(&get(COURSE)).await;
    answer.problem_of(502, "upstream-unreachable", "people.lms.get-shared-users");
    let status = answer.header("proxy-status").unwrap_or_default();
    assert!(status.starts_with("zoho-gateway; error=tls_certificate_error;"), "{status}");
    assert_eq!(zoho.requests().await, []);
}
