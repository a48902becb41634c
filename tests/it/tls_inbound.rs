//! TLS for callers: `proxy.tls`, changes of its files, and the addresses the gateway may listen on.

use std::{fs, path::Path};

use serde_json::json;

use crate::support::{
    Authority, COURSE, Call, Connection, Gateway, HASH_OF_ONE, Issued, Process, Sandbox, Setup, exchange, get, until,
};

/// A gateway with this certificate on one TCP address.
fn with_certificate(setup: Setup, issued: &Issued) -> Setup {
    write(&setup, "tls.crt", &issued.pem());
    write(&setup, "tls.key", &issued.key_pem());
    setup.set("proxy.tls.cert", "tls.crt").set("proxy.tls.key", "tls.key")
}

fn with_client_ca(setup: Setup, authority: &Authority) -> Setup {
    write(&setup, "ca.crt", &authority.pem());
    setup.set("proxy.tls.client_ca", "ca.crt")
}

fn write(setup: &Setup, name: &str, text: &str) {
    fs::write(setup.path(name), text).expect("the folder can be written to");
}

/// One caller with the key `one`, who may make every call.
fn with_a_caller(setup: Setup) -> Setup {
    setup
        .set("callers.one.key_sha256", HASH_OF_ONE)
        .set("callers.one.accounts", json!(["main"]))
        .set("callers.one.allow", json!(["*"]))
}

fn of_the_caller() -> Call {
    get(COURSE).header("authorization", "Bearer one")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_served_over_tls_and_on_a_plain_unix_socket() {
    let zoho = Sandbox::boundless();
    let authority = Authority::new();
    let setup = with_certificate(Gateway::before(&zoho), &authority.issue(&["localhost"]));
    let socket = format!("unix:{}", setup.path("proxy.sock").display());
    let gateway = setup.set("proxy.listen", json!(["127.0.0.1:0", socket])).start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = authority.client_of(&[version], None);
        let stream = client.connect(gateway.address()).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        let mut connection = Connection::over(stream, "localhost").await.expect("HTTP");
        // Several calls, and a body larger than one TLS record.
        for _ in 0..2 {
            connection.send(&get(COURSE)).await.is_zohos(200);
        }
        let long = Call::new("PUT", COURSE).form(format!("erecnosList=%5B{}%5D", "1,".repeat(20_000)));
        connection.send(&long).await.problem(400, "invalid-payload");
        connection.send(&get(COURSE)).await.is_zohos(200);
    }
    get(COURSE).send(&socket).await.is_zohos(200);
    assert_eq!(gateway.admin("/livez").await.status, 200, "the admin listener stays plain");

    // A client that trusts another authority ends the connection, and one that sends plain HTTP gets no useful answer.
    assert!(Authority::new().client().attempt(gateway.address(), &get(COURSE)).await.is_none());
    let plain = exchange(gateway.address(), format!("GET {COURSE} HTTP/1.1\r\nHost: gateway\r\n\r\n")).await;
    assert!(!plain.contains("HTTP/"), "{plain}");
    authority.client().attempt(gateway.address(), &get(COURSE)).await.expect("an answer").is_zohos(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_without_a_handshake_delay_no_other_client() {
    let zoho = Sandbox::boundless();
    let authority = Authority::new();
    let setup = with_certificate(Gateway::before(&zoho), &authority.issue(&["localhost"]));
    let gateway = setup.set("proxy.max_connections", 1).start();
    // All their handshakes together take longer to time out than the answer may take.
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(tokio::net::TcpStream::connect(gateway.address()).await.expect("it listens"));
    }
    authority.client().attempt(gateway.address(), &get(COURSE)).await.expect("an answer").is_zohos(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_is_required_unless_it_is_optional() {
    let zoho = Sandbox::boundless();
    let (authority, callers) = (Authority::new(), Authority::new());
    let setup = with_certificate(Gateway::before(&zoho), &authority.issue(&["localhost"]));
    let setup = with_a_caller(with_client_ca(setup, &callers));
    let known = callers.issue(&["spiffe://example.org/payroll"]);
    let untrusted = Authority::new().issue(&["spiffe://example.org/payroll"]);
    for (auth, nothing) in [(None, false), (Some("required"), false), (Some("optional"), true)] {
        let setup = setup.clone();
        let gateway = auth.into_iter().fold(setup, |setup, auth| setup.set("proxy.tls.client_auth", auth)).start();
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            for (shown, expected) in [(Some(&known), true), (Some(&untrusted), false), (None, nothing)] {
                let client = authority.client_of(&[version], shown);
                let answer = client.attempt(gateway.address(), &of_the_caller()).await;
                assert_eq!(answer.map(|answer| answer.status), expected.then_some(200), "{auth:?} {version:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_files_are_loaded() {
    let zoho = Sandbox::boundless();
    let (authority, callers) = (Authority::new(), Authority::new());
    let (first, second) = (authority.issue(&["localhost"]), authority.issue(&["localhost"]));
    let known = callers.issue(&["payroll"]);
    let setup = with_certificate(Gateway::before(&zoho), &first);
    let mut gateway = with_client_ca(setup, &callers).start();
    gateway.must_not_print(first.key_pem().lines().nth(1).expect("the key's first line"));
    gateway.must_not_print(second.key_pem().lines().nth(1).expect("the key's first line"));
    let client = authority.client_showing(&known);
    assert_eq!(&client.sees(gateway.address()).await, first.der());
    let stream = client.connect(gateway.address()).await.expect("a handshake");
    let mut open = Connection::over(stream, "localhost").await.expect("HTTP");
    open.send(&get(COURSE)).await.is_zohos(200);

    // A broken file changes nothing.
    write(gateway.setup(), "tls.crt", "-----BEGIN CERTIFICATE-----\nMII");
    gateway.process().logs("have changed and cannot be used");
    assert_eq!(&client.sees(gateway.address()).await, first.der());

    write(gateway.setup(), "tls.crt", &second.pem());
    write(gateway.setup(), "tls.key", &second.key_pem());
    until("the new certificate is shown", async || &client.sees(gateway.address()).await == second.der()).await;

    // Another client authority: certificates of the first one are no longer valid.
    let others = Authority::new();
    write(gateway.setup(), "ca.crt", &others.pem());
    let newcomer = authority.client_showing(&others.issue(&["reports"]));
    let attempt = async || newcomer.attempt(gateway.address(), &get(COURSE)).await;
    until("the new authority is trusted", async || attempt().await.is_some_and(|answer| answer.status == 200)).await;
    assert!(client.attempt(gateway.address(), &get(COURSE)).await.is_none());
    open.send(&get(COURSE)).await.is_zohos(200);
    let changes = gateway.process().log().iter().filter(|line| line.contains("new connections use")).count();
    assert_eq!(changes, 2);
    // The end of the certificate in force, in the year 4096.
    let metrics = gateway.admin("/metrics").await.text();
    let line = "zoho_gateway_tls_certificate_expiry_timestamp_seconds{} 67090118400";
    assert!(metrics.lines().any(|other| other == line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_address_needs_callers_and_tls_or_a_warning() {
    let zoho = Sandbox::boundless();
    let setup = Gateway::before(&zoho).set("proxy.listen", json!(["0.0.0.0:0"]));
    let check = |setup: &Setup| {
        let config = setup.write();
        Process::run(&[Path::new("check"), Path::new("--config"), &config], &[])
    };
    let anonymous = check(&setup);
    assert_eq!(anonymous.code, Some(2), "{anonymous:?}");
    assert!(anonymous.stderr.contains("configure who may call: [callers.NAME]"), "{anonymous:?}");

    let setup = with_a_caller(setup);
    let warning = "API keys cross the network in the clear at 0.0.0.0:0; set proxy.tls";
    let checked = check(&setup);
    assert_eq!((checked.code, checked.stderr), (Some(0), format!("warning: {warning}")));
    let gateway = setup.start();
    gateway.process().logs(warning);
    gateway.send(&of_the_caller()).await.is_zohos(200);
    gateway.send(&get(COURSE)).await.problem(401, "caller-unauthenticated");

    let authority = Authority::new();
    let setup = with_client_ca(with_certificate(setup, &authority.issue(&["localhost"])), &authority);
    let checked = check(&setup);
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    let path = |name: &str| setup.path(name).display().to_string();
    let line = format!("tls      {}, certificates of {} required", path("tls.crt"), path("ca.crt"));
    assert!(checked.stdout.lines().any(|other| other == line), "{checked:?}");

    // An invalid key: reported by key and file, without its content.
    write(&setup, "tls.key", "-----BEGIN PRIVATE KEY-----\nc3VycHJpc2U=\n-----END PRIVATE KEY-----\n");
    fs::remove_file(setup.path("ca.crt")).expect("it is there");
    let checked = check(&setup);
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(
        checked.stderr.contains(": proxy.tls.key: ") && checked.stderr.contains(": proxy.tls.client_ca: "),
        "{checked:?}"
    );
    assert!(checked.stderr.ends_with("2 problems in the configuration"), "{checked:?}");
    assert!(!checked.stderr.contains("c3VycHJpc2U"), "{checked:?}");
}

/// The certificate's name is that of a caller; a key in the request overrides it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_identifies_its_caller() {
    let zoho = Sandbox::boundless();
    let (authority, callers) = (Authority::new(), Authority::new());
    let setup = with_certificate(Gateway::before(&zoho), &authority.issue(&["localhost"]));
    let gateway = with_client_ca(with_a_caller(setup), &callers)
        .set("callers.payroll.san", json!(["spiffe://example.org/payroll", "payroll.example.org"]))
        .set("callers.payroll.accounts", json!(["main"]))
        .set("callers.payroll.allow", json!(["people.lms.get-*"]))
        .set("callers.reports.san", "reports.example.org")
        .start();
    let bad_key = get(COURSE).header("authorization", "Bearer nobodys");
    for (names, call, expected) in [
        (&["spiffe://example.org/payroll"][..], get(COURSE), 200),
        (&["other.example.org", "Payroll.example.org"], get(COURSE), 200),
        (&["payroll.example.org"], Call::new("DELETE", COURSE), 403),
        (&["payroll.example.org"], bad_key, 401),
        (&["payroll.example.org", "reports.example.org"], get(COURSE), 401),
        (&["spiffe://example.org/PAYROLL"], get(COURSE), 401),
        (&["sub.payroll.example.org"], get(COURSE), 401),
        (&["*.example.org"], get(COURSE), 401),
        // The key's caller may do this, the certificate's caller may not.
        (&["reports.example.org"], of_the_caller(), 200),
        (&["reports.example.org"], get(COURSE), 403),
    ] {
        let client = authority.client_showing(&callers.issue(names));
        let answer = client.attempt(gateway.address(), &call).await.expect("an answer");
        assert_eq!(answer.status, expected, "{names:?}: {answer:?}");
    }
    assert_eq!(zoho.requests().await.len(), 3);
}
