//! Certificates made for the test, and handshakes over loopback.

use std::{convert::Infallible, fs, time::SystemTime};

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client};
use tower::service_fn;

use super::{
    super::{wire::tests::TIMEOUTS, *},
    *,
};
use crate::{
    call::{Arrived, peer::Exposure},
    message::body::Body,
    os::shutdown::Shutdown,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its key.
type Pair = (rcgen::Certificate, KeyPair);

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for these names; names with a scheme are URIs.
fn pair(authority: &Authority, names: &[&str]) -> Pair {
    pair_until(authority, names, clock::wall() + 100 * DAY)
}

fn pair_until(authority: &Authority, names: &[&str], expiry: SystemTime) -> Pair {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.contains("://") {
            true => SanType::URI((*name).try_into().unwrap()),
            false => SanType::DnsName((*name).try_into().unwrap()),
        })
        .collect();
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + expiry.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

/// The files of a gateway in a folder, with the authority's certificate for mutual TLS.
struct Files {
    folder: TempDir,
    files: TlsFiles,
}

impl Files {
    fn of(pair: &Pair, clients: Option<(&Authority, ClientAuth)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let of_clients = clients.map(|(authority, auth)| {
            fs::write(path("ca"), authority.pem()).unwrap();
            ClientCertificates { ca: path("ca"), auth }
        });
        let files = TlsFiles { cert: path("cert"), key: path("key"), clients: of_clients };
        let files = Self { folder, files };
        files.write("cert", &pair.0.pem());
        files.write("key", &pair.1.serialize_pem());
        files
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn load(&self) -> Arc<Tls> {
        Arc::new(Tls::load(self.files.clone()).unwrap_or_else(|faults| panic!("{faults:?}")))
    }
}

/// A client that trusts `authority` and shows a certificate.
fn client(authority: &Authority, shown: Option<&Pair>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match shown {
        Some((certificate, key)) => {
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
        }
        None => builder.with_no_client_auth(),
    }
}

async fn connect(client: &Arc<ClientConfig>, address: &str) -> io::Result<client::TlsStream<TcpStream>> {
    let name = ServerName::try_from("gateway").unwrap();
    TlsConnector::from(Arc::clone(client)).connect(name, TcpStream::connect(address).await?).await
}

/// A handshake: the gateway's outcome and the client's outcome.
async fn handshake(
    tls: &Tls,
    client: &Arc<ClientConfig>,
) -> (io::Result<Arc<[SubjectName]>>, io::Result<client::TlsStream<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let inside = async {
        let (mut stream, names) = tls.handshake(listener.accept().await.unwrap().0.into()).await?;
        // The session tickets are sent with it, and the client waits for them.
        stream.write_all(b"!").await?;
        Ok(names)
    };
    let outside = async {
        let mut stream = connect(client, &address).await?;
        stream.read_exact(&mut [0]).await?;
        Ok(stream)
    };
    tokio::join!(inside, outside)
}

// === Connections ===

#[tokio::test]
async fn a_request_has_the_names_of_its_callers_certificate() {
    let authority = authority();
    let names = ["Payroll.Example.ORG", "spiffe://example.org/ns/HR/sa/payroll", "other.example.org"];
    let files = Files::of(&pair(&authority, &["gateway"]), Some((&authority, ClientAuth::Optional)));
    let access = SocketAccess { mode: 0o600, owner: None, group: None };
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &access).await.unwrap().over_tls(&files.load());
    let address = listener.to_string();
    let service = service_fn(|Arrived { peer, .. }: Arrived| async move {
        assert_eq!(peer.exposure, Exposure::Loopback);
        let names: Vec<String> = peer.names.iter().map(|name| format!("{name:?}")).collect();
        Ok::<_, Infallible>(Response::new(Body::full(names.join(" "))))
    });
    let shutdown = Shutdown::default();
    let serving = tokio::spawn(serve(listener, service, ConnectionLimit::for_operators(), TIMEOUTS, shutdown.clone()));

    let shown = pair(&authority, &names);
    for (shown, expected) in [
        (
            Some(&shown),
            r#"Dns("payroll.example.org") Dns("other.example.org") Uri("spiffe://example.org/ns/HR/sa/payroll")"#,
        ),
        (None, ""),
    ] {
        let stream = connect(&Arc::new(client(&authority, shown)), &address).await.unwrap();
        let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        // Each request of a connection has them.
        for _ in 0..2 {
            let request = Request::builder().uri("/").header("host", "gateway").body(Body::full("")).unwrap();
            let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
            assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
        }
    }
    shutdown.drain();
    serving.await.unwrap();
}

#[tokio::test]
async fn only_valid_certificates_are_accepted() {
    let (ours, foreign) = (authority(), authority());
    let known = pair(&ours, &["payroll"]);
    let expired = pair_until(&ours, &["payroll"], clock::wall() - HOUR);
    let unknown = pair(&foreign, &["payroll"]);
    for (auth, nothing) in [(ClientAuth::Required, false), (ClientAuth::Optional, true)] {
        let tls = Files::of(&pair(&ours, &["gateway"]), Some((&ours, auth))).load();
        for (shown, expected) in
            [(Some(&known), true), (Some(&expired), false), (Some(&unknown), false), (None, nothing)]
        {
            let (inside, outside) = handshake(&tls, &Arc::new(client(&ours, shown))).await;
            assert_eq!((inside.is_ok(), outside.is_ok()), (expected, expected), "{auth:?} {inside:?} {outside:?}");
        }
    }
}

#[tokio::test]
async fn sessions_are_resumed_only_without_mutual_tls() {
    let authority = authority();
    let shown = pair(&authority, &["payroll"]);
    for (clients, expected) in [
        (None, HandshakeKind::Resumed),
        (Some((&authority, ClientAuth::Required)), HandshakeKind::Full),
        (Some((&authority, ClientAuth::Optional)), HandshakeKind::Full),
    ] {
        let tls = Files::of(&pair(&authority, &["gateway"]), clients).load();
        let client = Arc::new(client(&authority, Some(&shown)));
        handshake(&tls, &client).await.1.unwrap();
        let stream = handshake(&tls, &client).await.1.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected), "{clients:?}", clients = tls.files().clients);
    }
}

#[tokio::test]
async fn only_http_1_1_is_supported() {
    let authority = authority();
    let tls = Files::of(&pair(&authority, &["gateway"]), None).load();
    for (offered, expected) in [(vec!["h2", "http/1.1"], Some(true)), (vec![], Some(false)), (vec!["h2"], None)] {
        let mut client = client(&authority, None);
        client.alpn_protocols = offered.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let outside = handshake(&tls, &Arc::new(client)).await.1;
        let agreed = outside.ok().map(|stream| stream.get_ref().1.alpn_protocol() == Some(b"http/1.1"));
        assert_eq!(agreed, expected, "{offered:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_handshake_times_out() {
    let tls = Files::of(&pair(&authority(), &["gateway"]), None).load();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let before = clock::now();
    let error = tls.handshake(listener.accept().await.unwrap().0.into()).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::TimedOut, "no handshake within 10s"));
    assert_eq!(clock::now() - before, HANDSHAKE_TIMEOUT);
}

// === Files ===

/// The certificate that a new connection gets.
async fn seen(tls: &Tls, client: &Arc<ClientConfig>) -> CertificateDer<'static> {
    let stream = handshake(tls, client).await.1.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn changed_files_are_used_once_they_fit_together() {
    let authority = authority();
    let (first, second) = (pair(&authority, &["gateway"]), pair(&authority, &["gateway"]));
    let files = Files::of(&first, None);
    let tls = files.load();
    let client = Arc::new(client(&authority, None));
    assert!(matches!(tls.reread(), Reread::Quiet));
    assert_eq!(&seen(&tls, &client).await, first.0.der());

    // The new certificate is there before its key.
    files.write("cert", &second.0.pem());
    assert!(matches!(tls.reread(), Reread::Quiet));
    assert_eq!(&seen(&tls, &client).await, first.0.der());
    files.write("key", &second.1.serialize_pem());
    assert!(matches!(tls.reread(), Reread::Replaced));
    assert_eq!(&seen(&tls, &client).await, second.0.der());
    assert!(matches!(tls.reread(), Reread::Quiet));
}

#[tokio::test]
async fn files_that_stay_unusable_are_reported_once() {
    let authority = authority();
    let first = pair(&authority, &["gateway"]);
    let files = Files::of(&first, Some((&authority, ClientAuth::Optional)));
    let tls = files.load();
    let reported = |outcome: Reread<String>| match outcome {
        Reread::Unusable(faults) => faults.split("; ").map(str::to_owned).collect(),
        Reread::Quiet => Vec::new(),
        Reread::Replaced => panic!("the files cannot be used"),
    };
    files.write("cert", &pair(&authority, &["gateway"]).0.pem());
    files.write("ca", "");
    let path = |name: &str| files.folder.path().join(name).display().to_string();
    let expected = [
        format!("client_ca: the file {} holds no certificates (BEGIN CERTIFICATE)", path("ca")),
        format!("key: the file {} is not the key of the first certificate in the file of cert", path("key")),
    ];
    assert_eq!(reported(tls.reread()), [""; 0]);
    assert_eq!(reported(tls.reread()), expected);
    assert_eq!(reported(tls.reread()), [""; 0]);
    assert_eq!(&seen(&tls, &Arc::new(client(&authority, None))).await, first.0.der());

    // Another fault is reported again.
    fs::remove_file(files.folder.path().join("key")).unwrap();
    assert_eq!(reported(tls.reread()), [""; 0]);
    let [first_of_two, _] = &reported(tls.reread())[..] else { panic!("two of them") };
    assert!(first_of_two.ends_with("cannot be read: No such file or directory (os error 2)"), "{first_of_two}");

    // The original contents are not a change; a fault after them is reported again.
    files.write("cert", &first.0.pem());
    files.write("key", &first.1.serialize_pem());
    files.write("ca", &authority.pem());
    assert_eq!(reported(tls.reread()), [""; 0]);
    files.write("ca", "");
    assert_eq!(reported(tls.reread()), [""; 0]);
    assert_eq!(reported(tls.reread()).len(), 1);
}

#[test]
fn warns_about_a_certificate_that_expires_soon() {
    let authority = authority();
    for (expiry, expected) in [
        (clock::wall() - HOUR, Some("expired on ")),
        (clock::wall() + 14 * DAY - HOUR, Some("expires on ")),
        (clock::wall() + 14 * DAY + HOUR, None),
    ] {
        let tls = Files::of(&pair_until(&authority, &["gateway"], expiry), None).load();
        let warning = tls.warning();
        let date = httpdate::fmt_http_date(expiry);
        let words = expected.map(|words| format!("the certificate in {} {words}{date}; ", tls.files().cert.display()));
        match (&warning, &words) {
            (Some(warning), Some(words)) => assert!(warning.starts_with(words), "{warning}"),
            _ => assert_eq!(warning, words),
        }
    }
    // Also for a certificate that is self-signed, an authority's and for clients only.
    let mut params = CertificateParams::new(["gateway".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = KeyPair::generate().unwrap();
    let tls = Files::of(&(params.self_signed(&key).unwrap(), key), None).load();
    assert!(tls.warning().is_some_and(|warning| warning.contains("Fri, 01 Jan 2021 00:00:00 GMT")));
}
