//! A test authority, its certificates, a TLS client, and a TLS terminator in front of a plain server.

use std::{fs, io, path::Path, sync::Arc};

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use super::{Answer, Call, Connection, PATIENCE};

/// Issues certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub(crate) struct Issued {
    certificate: Certificate,
    key: KeyPair,
}

/// A client that trusts an authority and may send a certificate.
#[derive(Clone)]
pub(crate) struct TlsClient(Arc<ClientConfig>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority"))
    }

    /// A certificate for these names; those with a scheme are URIs.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        let mut params = CertificateParams::default();
        let name = |name: &&str| match name.contains("://") {
            true => SanType::URI((*name).try_into().expect("ASCII")),
            false => SanType::DnsName((*name).try_into().expect("ASCII")),
        };
        params.subject_alt_names = names.iter().map(name).collect();
        let key = KeyPair::generate().expect("a key");
        Issued { certificate: params.signed_by(&key, &self.0).expect("a certificate"), key }
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A client that trusts only this authority.
    pub(crate) fn client(&self) -> TlsClient {
        self.client_of(rustls::ALL_VERSIONS, None)
    }

    /// The same with a client certificate.
    pub(crate) fn client_showing(&self, shown: &Issued) -> TlsClient {
        self.client_of(rustls::ALL_VERSIONS, Some(shown))
    }

    /// A client with these versions of TLS only.
    pub(crate) fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        shown: Option<&Issued>,
    ) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .expect("TLS 1.2 and 1.3")
            .with_root_certificates(roots);
        TlsClient(Arc::new(match shown {
            Some(shown) => builder.with_client_auth_cert(shown.chain(), shown.key()).expect("a key of its own"),
            None => builder.with_no_client_auth(),
        }))
    }
}

impl Issued {
    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.der().clone()]
    }

    fn key(&self) -> rustls::pki_types::PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

impl TlsClient {
    /// Connects to `localhost` at that address.
    pub(crate) async fn connect(&self, address: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").expect("a name");
        let shaking = TlsConnector::from(Arc::clone(&self.0)).connect(name, TcpStream::connect(address).await?);
        tokio::time::timeout(PATIENCE, shaking).await.unwrap_or_else(|_| panic!("no handshake"))
    }

    /// Sends a call on its own connection; `None` if TLS fails, which with TLS 1.3 may show only at the first answer.
    pub(crate) async fn attempt(&self, address: &str, call: &Call) -> Option<Answer> {
        let mut connection = Connection::over(self.connect(address).await.ok()?, "localhost").await.ok()?;
        connection.try_send(call).await.ok()
    }

    /// The server certificate of a new connection.
    pub(crate) async fn sees(&self, address: &str) -> CertificateDer<'static> {
        let stream = self.connect(address).await.expect("a handshake");
        stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
    }
}

/// Terminates TLS and passes the bytes on.
pub(crate) struct Terminator {
    port: u16,
    authority: Authority,
}

impl Terminator {
    /// In front of the server at `address`.
    pub(crate) async fn before(address: &str) -> Self {
        Self::before_as(address, &["localhost"]).await
    }

    /// The same, with a certificate for these names.
    pub(crate) async fn before_as(address: &str, names: &[&str]) -> Self {
        let authority = Authority::new();
        let issued = authority.issue(names);
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(issued.chain(), issued.key())
            .expect("the key is the certificate's");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(serve(listener, acceptor, address.to_owned()));
        Self { port, authority }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Writes the certificates of its authority and of others'.
    pub(crate) fn write_authorities(&self, others: &[&Self], path: &Path) {
        let pems = others.iter().fold(self.authority.pem(), |pems, other| pems + &other.authority.pem());
        fs::write(path, pems).expect("the folder can be written to");
    }

    /// Writes the authority's certificate.
    pub(crate) fn write_authority(&self, path: &Path) {
        fs::write(path, self.authority.pem()).expect("the folder can be written to");
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, address: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, address) = (acceptor.clone(), address.clone());
        tokio::spawn(async move {
            // A client that does not trust us ends the connection, as it should.
            let Ok(mut outside) = acceptor.accept(stream).await else { return };
            let mut inside = TcpStream::connect(address).await.expect("the plain server listens");
            let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
        });
    }
}
