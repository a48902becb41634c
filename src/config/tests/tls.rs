//! `proxy.tls`, `proxy.unix`, and the addresses on which the gateway may listen.

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::call::peer::{ClientAddress, Exposure, Peer};

const CALLER: &str = "[callers.a]\nkey_sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\"\naccounts = \"main\"\nallow = \"people.*\"\n";

/// A folder with a certificate and its key, and things that are neither.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["gateway".to_owned()]).unwrap().self_signed(&key).unwrap();
    write("cert", &certificate.pem());
    write("key", &key.serialize_pem());
    write("other-key", &KeyPair::generate().unwrap().serialize_pem());
    write("broken-key", &format!("-----BEGIN PRIVATE KEY-----\n{CANARY}!\n-----END PRIVATE KEY-----\n"));
    write("cut-key", &format!("-----BEGIN PRIVATE KEY-----\n{CANARY}"));
    write("nonsense-key", "-----BEGIN PRIVATE KEY-----\nczNjcjN0YzRuNHJ5\n-----END PRIVATE KEY-----\n");
    write(
        "locked-key",
        &format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{CANARY}\n-----END ENCRYPTED PRIVATE KEY-----\n"),
    );
    write("nonsense-cert", "-----BEGIN CERTIFICATE-----\nczNjcjN0YzRuNHJ5\n-----END CERTIFICATE-----\n");
    fs::write(folder.path().join("no-text"), b"\x30\x82\x01\xff").unwrap();
    write("nothing", "");
    folder
}

fn loaded(folder: &TempDir, text: &str) -> Result<Config, ConfigErrors> {
    let path = folder.path().join("gateway.toml");
    fs::write(&path, with_account(text)).unwrap();
    load(&path, [])
}

/// The mistakes, with `DIR` for the folder.
fn mistakes(folder: &TempDir, text: &str) -> Vec<String> {
    let dir = folder.path().display().to_string();
    let errors = loaded(folder, text).unwrap_err();
    assert!(!format!("{errors} {errors:?}").contains(CANARY), "{errors}");
    lines(&errors).iter().map(|line| line.replace(&format!("{dir}/gateway.toml:"), "").replace(&dir, "DIR")).collect()
}

#[test]
fn files_that_belong_together_are_taken() {
    let folder = folder();
    let config = loaded(&folder, "proxy.tls = { cert = \"cert\", key = \"key\" }\n").unwrap();
    let files = config.proxy.tls.as_ref().unwrap().files();
    assert_eq!(files.cert, folder.path().join("cert"));
    assert_eq!((files.key.clone(), files.clients.as_ref()), (folder.path().join("key"), None));
    for (auth, expected) in [
        ("", ClientAuth::Required),
        (", client_auth = \"required\"", ClientAuth::Required),
        (", client_auth = \"optional\"", ClientAuth::Optional),
    ] {
        let text = format!("proxy.tls = {{ cert = \"cert\", key = \"key\", client_ca = \"cert\"{auth} }}\n");
        let config = loaded(&folder, &text).unwrap();
        let clients = config.proxy.tls.as_ref().unwrap().files().clients.clone().unwrap();
        assert_eq!((clients.ca, clients.auth), (folder.path().join("cert"), expected));
    }
}

#[test]
fn what_is_wrong_with_the_files_is_told_by_key_and_file() {
    let folder = folder();
    for (tls, expected) in [
        ("{}", vec![
            "1:7: proxy.tls.cert: is missing; expected the path of a PEM file with the certificate".to_owned(),
            "1:7: proxy.tls.key: is missing; expected the path of a PEM file with the certificate's private key".to_owned(),
        ]),
        ("{ cert = \"cert\", key = \"key\", ca = \"cert\" }", vec![
            "1:43: proxy.tls.ca: unknown key (known here: cert, client_auth, client_ca, key)".to_owned(),
        ]),
        ("{ cert = \"cert\", key = \"other-key\" }", vec![
            "1:36: proxy.tls.key: the file DIR/other-key is not the key of the first certificate in the file of cert".to_owned(),
        ]),
        ("{ cert = \"nowhere\", key = \"broken-key\", client_ca = \"nothing\" }", vec![
            "1:22: proxy.tls.cert: the file DIR/nowhere cannot be read: No such file or directory (os error 2)".to_owned(),
            "1:39: proxy.tls.key: the file DIR/broken-key is not well-formed PEM; expected private key (BEGIN PRIVATE KEY)".to_owned(),
            "1:65: proxy.tls.client_ca: the file DIR/nothing holds no certificates (BEGIN CERTIFICATE)".to_owned(),
        ]),
        ("{ cert = \"key\", key = \"cert\", client_ca = \"nonsense-cert\" }", vec![
            "1:22: proxy.tls.cert: the file DIR/key holds no certificates (BEGIN CERTIFICATE)".to_owned(),
            "1:35: proxy.tls.key: the file DIR/cert holds no private key (BEGIN PRIVATE KEY)".to_owned(),
            "1:55: proxy.tls.client_ca: the file DIR/nonsense-cert holds a certificate that is not usable: invalid peer certificate: BadEncoding".to_owned(),
        ]),
        ("{ cert = \"nonsense-cert\", key = \"nonsense-key\" }", vec![
            "1:22: proxy.tls.cert: the file DIR/nonsense-cert holds a certificate that is not usable: invalid peer certificate: BadEncoding".to_owned(),
            "1:45: proxy.tls.key: the file DIR/nonsense-key holds a key of a kind that is not supported; expected RSA, ECDSA (P-256, P-384, P-521) or Ed25519".to_owned(),
        ]),
        ("{ cert = \"cert\", key = \"other-key\", client_ca = \"nothing\" }", vec![
            "1:36: proxy.tls.key: the file DIR/other-key is not the key of the first certificate in the file of cert".to_owned(),
            "1:61: proxy.tls.client_ca: the file DIR/nothing holds no certificates (BEGIN CERTIFICATE)".to_owned(),
        ]),
        ("{ cert = \"cert\", key = \"cut-key\" }", vec![
            "1:36: proxy.tls.key: the file DIR/cut-key is not well-formed PEM; expected private key (BEGIN PRIVATE KEY)".to_owned(),
        ]),
        ("{ cert = \"cert\", key = \"locked-key\" }", vec![
            "1:36: proxy.tls.key: the file DIR/locked-key holds a key with a passphrase; expected one without: openssl pkey -in OLD -out NEW".to_owned(),
        ]),
        ("{ cert = \"no-text\", key = \"/dev/zero\" }", vec![
            "1:22: proxy.tls.cert: the file DIR/no-text holds no certificates (BEGIN CERTIFICATE)".to_owned(),
            "1:39: proxy.tls.key: the file /dev/zero is too long: more than 1048576 bytes".to_owned(),
        ]),
        ("{ cert = \"cert\", key = \"\"\"-----BEGIN PRIVATE KEY-----\ns3cr3tc4n4ry/\"\"\" }", vec![
            "1:36: proxy.tls.key: expected the path of a PEM file, found its text".to_owned(),
        ]),
        ("{ cert = \"cert\", key = \"key\", client_auth = \"optional\" }", vec![
            "1:43: proxy.tls.client_auth: says nothing without client_ca: expected both or neither".to_owned(),
        ]),
        ("{ cert = \"cert\", key = \"key\", client_ca = \"cert\", client_auth = \"no\" }", vec![
            "1:77: proxy.tls.client_auth: expected one of \"required\", \"optional\"".to_owned(),
        ]),
    ] {
        assert_eq!(mistakes(&folder, &format!("proxy.tls = {tls}\n")), expected, "{tls}");
    }
}

#[test]
fn tls_is_for_tcp() {
    let folder = folder();
    let tls = "tls = { cert = \"cert\", key = \"key\" }\n";
    assert_eq!(
        mistakes(&folder, &format!("[proxy]\nlisten = \"unix:/x\"\n{tls}")),
        ["3:1: proxy.tls: is for TCP, and proxy.listen has only Unix sockets"]
    );
    assert!(loaded(&folder, &format!("[proxy]\nlisten = [\"unix:/x\", \"127.0.0.1:0\"]\n{tls}")).is_ok());
}

#[test]
fn only_known_callers_are_let_in_from_other_machines() {
    let folder = folder();
    let listen = "proxy.listen = [\"0.0.0.0:8443\", \"127.0.0.1:1\"]\n";
    let anonymous = mistakes(&folder, &format!("{listen}[callers]\n"));
    let [message] = &anonymous[..] else { panic!("{anonymous:?}") };
    assert!(message.ends_with("to listen on a network, configure who may call: [callers.NAME]"), "{message}");

    let config = loaded(&folder, &format!("{listen}{CALLER}")).unwrap();
    assert_eq!(config.warnings(), ["API keys cross the network in the clear at 0.0.0.0:8443; set proxy.tls"]);
    let tls = "proxy.tls = { cert = \"cert\", key = \"key\" }\n";
    let config = loaded(&folder, &format!("{listen}{tls}{CALLER}")).unwrap();
    assert_eq!(config.warnings(), [""; 0]);

    // Permissions that permit nothing.
    let idle = CALLER.replace("\"people.*\"", "[\"people.lmss.*\", \"*\"]")
        + "[callers.b]\nkey_sha256 = \"fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9\"\n";
    assert_eq!(
        loaded(&folder, &idle).unwrap().warnings(),
        [
            "callers.a.allow: \"people.lmss.*\" matches no route; zoho-gateway routes lists them",
            "caller b may do nothing: callers.b needs accounts and allow",
        ]
    );

    let issuer = "[issuers.i]\nissuer = \"i\"\naudience = \"a\"\njwks_url = \"https://i.example/jwks\"\n";
    let warned = loaded(&folder, issuer).unwrap().warnings();
    assert!(warned[0].starts_with("there are issuers of tokens, and no caller"), "{warned:?}");

    // A caller with a mistake is one who was meant to be there.
    let message = mistakes(&folder, &format!("{listen}[callers.a]\n"));
    assert_eq!(
        message,
        [
            "2:10: callers.a: nothing identifies the caller; expected key_sha256 (the hash of an API key), san (a name in its \
          client certificate) or jwt (the subject of its tokens)"
        ]
    );
}

#[test]
fn callers_are_known_by_the_names_in_their_certificates() {
    let folder = folder();
    let tls = "proxy.tls = { cert = \"cert\", key = \"key\", client_ca = \"cert\" }\n";
    let sync = "[callers.sync]\nsan = [\"sync.example.org\", \"spiffe://example.org/sync\"]\n";
    let callers = format!("{tls}[callers.reports]\nsan = \"spiffe://example.org/reports\"\n{sync}");
    let config = loaded(&folder, &callers).unwrap();
    for (name, expected) in [
        ("Sync.example.org", "sync"),
        ("spiffe://example.org/sync", "sync"),
        ("spiffe://example.org/reports", "reports"),
    ] {
        let peer = Peer {
            exposure: Exposure::Network,
            address: ClientAddress::Unix,
            is_tls: false,
            names: [name.parse().unwrap()].into(),
        };
        let known = config.callers.by_certificate(&peer).unwrap().unwrap();
        assert_eq!(known.who.name(), expected, "{name}");
    }
    for (callers, expected) in [
        (
            "callers.a.san = \"*.example.org\"\n",
            "2:17: callers.a.san: expected the name in a client's certificate: \"spiffe://example.org/payroll\" or \"payroll.example.org\"",
        ),
        (
            "callers.a.san = \"a.example.org\"\ncallers.b.san = [\"b.example.org\", \"A.example.org\"]\n",
            "3:35: callers.b.san: is used twice: whose certificate is it?",
        ),
    ] {
        assert_eq!(mistakes(&folder, &format!("{tls}{callers}")), [expected]);
    }
}
