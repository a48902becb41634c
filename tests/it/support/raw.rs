//! Exact bytes over TCP, which an HTTP client would not send or show.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::PATIENCE;

/// Sends `bytes` and returns everything up to the other side's end. The request should contain `Connection: close`.
pub(crate) async fn exchange(address: &str, bytes: impl AsRef<[u8]>) -> String {
    all_that_comes(sent(address, bytes).await).await
}

/// The same, but closes the sending half after `bytes`.
pub(crate) async fn exchange_half(address: &str, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = sent(address, bytes).await;
    stream.shutdown().await.expect("the connection takes it");
    all_that_comes(stream).await
}

async fn sent(address: &str, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a server listens");
    stream.write_all(bytes.as_ref()).await.expect("the connection takes it");
    stream
}

/// Everything up to the other side's end.
pub(crate) async fn all_that_comes(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection does not end");
    String::from_utf8_lossy(&answer).into_owned()
}
