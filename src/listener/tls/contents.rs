//! Builds the configuration of rustls from the contents of the files.

use std::{sync::Arc, time::SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{ClientAuth, TlsFault, TlsFile, TlsFileError, TlsFiles, certificate, files};
use crate::secret::{
    SecretBytes,
    pem::{self, UnusablePem},
};

/// The only protocol over TLS, by its ALPN name (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The contents of the files, or why they cannot be read.
pub(super) struct Contents {
    cert: Result<SecretBytes, UnusablePem>,
    key: Result<SecretBytes, UnusablePem>,
    client_ca: Option<Result<SecretBytes, UnusablePem>>,
}

/// What new connections use.
pub(super) struct TlsSetup {
    pub(super) config: Arc<ServerConfig>,
    /// When the certificate expires, if that is known.
    pub(super) expiry: Option<SystemTime>,
}

impl Contents {
    pub(super) fn read(files: &TlsFiles) -> Self {
        Self {
            cert: pem::read(&files.cert),
            key: pem::read(&files.key),
            client_ca: files.clients.as_ref().map(|clients| pem::read(&clients.ca)),
        }
    }

    /// A digest that distinguishes these contents from others without keeping them.
    pub(super) fn fingerprint(&self) -> Vec<u8> {
        let files = [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten();
        let digests = files.map(|file| match file {
            Ok(pem) => digest(&SHA256, pem.expose()),
            Err(error) => digest(&SHA256, error.to_string().as_bytes()),
        });
        digests.flat_map(|digest| digest.as_ref().to_vec()).collect()
    }

    /// Builds the setup, or lists all faults of the files.
    pub(super) fn setup(self, files: &TlsFiles) -> Result<TlsSetup, Vec<TlsFault>> {
        let provider = Arc::new(default_provider());
        let mut faults = Vec::new();
        let mut fault = |file, why| faults.push(TlsFault { file, path: files.path(file).to_owned(), why });
        let chain = self
            .cert
            .map_err(TlsFileError::from)
            .and_then(|pem| files::chain(&pem))
            .map_err(|why| fault(TlsFile::Cert, why));
        let key = self
            .key
            .map_err(TlsFileError::from)
            .and_then(|pem| files::key(&pem))
            .map_err(|why| fault(TlsFile::Key, why));
        let verifier = self.client_ca.zip(files.clients.as_ref()).map(|(pem, clients)| {
            let authorities = pem.and_then(|pem| pem::authorities(&pem))?;
            verifier(authorities, clients.auth, &provider)
        });
        let verifier = verifier.transpose().map_err(|why| fault(TlsFile::ClientCa, why));
        let pair = match (chain, key) {
            (Ok(chain), Ok(key)) => {
                let pair = CertifiedKey::new(chain, key);
                pair.keys_match().map(|()| pair).map_err(|_| fault(TlsFile::Key, TlsFileError::Mismatch))
            }
            _ => Err(()),
        };
        let (Ok(pair), Ok(verifier)) = (pair, verifier) else { return Err(faults) };
        let expiry = pair.cert.first().and_then(certificate::expiry);
        Ok(TlsSetup { config: Arc::new(config(pair, verifier, provider)), expiry })
    }
}

fn verifier(
    authorities: RootCertStore,
    auth: ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsFileError> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider));
    let builder = match auth {
        ClientAuth::Required => builder,
        ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    Ok(builder.build().map_err(|_| UnusablePem::Lacking(pem::CERTIFICATES))?)
}

/// # Panics
/// Never: aws-lc-rs supports TLS 1.2 and 1.3.
fn config(
    pair: CertifiedKey,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    provider: Arc<CryptoProvider>,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs supports TLS 1.2 and 1.3");
    let mutual = verifier.is_some();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    if mutual {
        // A resumed session keeps its certificate without another verification, perhaps longer than it is valid.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config
}
