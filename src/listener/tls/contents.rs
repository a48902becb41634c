//! From the files' contents to what rustls takes.

use std::{sync::Arc, time::SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    pki_types::CertificateDer,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SigningKey, SingleCertAndKey},
};

use super::{ClientAuth, TlsFault, TlsFile, TlsFiles, Unusable, certificate, files};
use crate::secret::{
    SecretBytes,
    pem::{self, UnusablePem},
};

/// The one protocol that is spoken over it, as ALPN names it (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The files as they were read.
pub(super) struct Contents {
    cert: Result<SecretBytes, UnusablePem>,
    key: Result<SecretBytes, UnusablePem>,
    client_ca: Option<Result<SecretBytes, UnusablePem>>,
}

/// What connections are made with.
pub(super) struct Ready {
    pub(super) config: Arc<ServerConfig>,
    /// The end of the certificate, if it can be told.
    pub(super) end: Option<SystemTime>,
}

impl Contents {
    pub(super) fn of(files: &TlsFiles) -> Self {
        Self {
            cert: pem::read(&files.cert),
            key: pem::read(&files.key),
            client_ca: files.clients.as_ref().map(|clients| pem::read(&clients.ca)),
        }
    }

    /// Tells these contents from others, without keeping them.
    pub(super) fn fingerprint(&self) -> Vec<u8> {
        let files = [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten();
        let digests = files.map(|file| match file {
            Ok(pem) => digest(&SHA256, pem.expose()),
            Err(error) => digest(&SHA256, error.to_string().as_bytes()),
        });
        digests.flat_map(|digest| digest.as_ref().to_vec()).collect()
    }

    /// What can be made of them, or everything that is wrong with them.
    pub(super) fn ready(self, files: &TlsFiles) -> Result<Ready, Vec<TlsFault>> {
        let provider = Arc::new(default_provider());
        let mut faults = Vec::new();
        let mut fault = |file, why| faults.push(TlsFault { file, path: files.path(file).to_owned(), why });
        let of = |file: Result<SecretBytes, UnusablePem>| file.map_err(Unusable::from);
        let chain = of(self.cert).and_then(|pem| files::chain(&pem)).map_err(|why| fault(TlsFile::Cert, why));
        let key = of(self.key).and_then(|pem| files::key(&pem)).map_err(|why| fault(TlsFile::Key, why));
        let verifier = self.client_ca.zip(files.clients.as_ref()).map(|(pem, clients)| {
            let authorities = pem.and_then(|pem| pem::authorities(&pem))?;
            verifier(authorities, clients.auth, &provider)
        });
        let verifier = verifier.transpose().map_err(|why| fault(TlsFile::ClientCa, why));
        let pair = match (chain, key) {
            (Ok(chain), Ok(key)) => pair(chain, key).map_err(|why| fault(TlsFile::Key, why)),
            _ => Err(()),
        };
        let (Ok(pair), Ok(verifier)) = (pair, verifier) else { return Err(faults) };
        let end = pair.cert.first().and_then(certificate::end);
        Ok(Ready { config: Arc::new(config(pair, verifier, provider)), end })
    }
}

fn verifier(
    authorities: RootCertStore,
    auth: ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Unusable> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider));
    let builder = match auth {
        ClientAuth::Required => builder,
        ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    Ok(builder.build().map_err(|_| UnusablePem::Lacking(pem::CERTIFICATES))?)
}

/// A certificate with its key, if they are a pair.
fn pair(chain: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> Result<CertifiedKey, Unusable> {
    let pair = CertifiedKey::new(chain, key);
    pair.keys_match().map_err(|_| Unusable::Mismatch)?;
    Ok(pair)
}

/// # Panics
/// Never: the provider that is named here speaks TLS 1.2 and 1.3.
fn config(
    pair: CertifiedKey,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    provider: Arc<CryptoProvider>,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs speaks TLS 1.2 and 1.3");
    let mutual = verifier.is_some();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    if mutual {
        // A session that is resumed brings its certificate along unverified, for longer than it may be good.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config
}
