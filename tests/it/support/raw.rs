//! Exact bytes over TCP, for what no HTTP client would send or show.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::PATIENCE;

/// Sends `bytes` and returns everything up to the other side's end. The request had better say `Connection: close`.
pub(crate) async fn exchange(address: &str, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    stream.write_all(bytes.as_ref()).await.expect("the connection takes it");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection does not end");
    String::from_utf8_lossy(&answer).into_owned()
}
