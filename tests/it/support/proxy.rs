//! An HTTP proxy with CONNECT tunnels, like those of corporate networks.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// A running proxy.
pub(crate) struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Its answer to a CONNECT.
#[derive(Clone)]
pub(crate) enum Tunnels {
    /// It connects every name to the server at this address.
    To(String),
    /// It answers with these bytes and closes.
    Answer(&'static [u8]),
    /// It never answers.
    Never,
}

impl Proxy {
    pub(crate) async fn start(tunnels: Tunnels) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let heads = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, tunnels.clone(), Arc::clone(&heads)));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no reader panics").clone()
    }

    /// The servers that tunnels were requested for, each once, in order.
    pub(crate) fn servers(&self) -> Vec<String> {
        let asked = self.asked();
        let mut servers: Vec<_> = asked
            .iter()
            .filter_map(|head| head.strip_prefix("CONNECT ")?.split(' ').next())
            .map(str::to_owned)
            .collect();
        servers.sort();
        servers.dedup();
        servers
    }
}

async fn serve(mut stream: TcpStream, tunnels: Tunnels, heads: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    heads.lock().expect("no reader panics").push(String::from_utf8_lossy(&head).into_owned());
    match tunnels {
        Tunnels::To(address) => {
            let mut server = TcpStream::connect(address).await.ok()?;
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
            copy_bidirectional(&mut stream, &mut server).await.ok()?;
        }
        Tunnels::Answer(bytes) => stream.write_all(bytes).await.ok()?,
        Tunnels::Never => while stream.read_u8().await.is_ok() {},
    }
    Some(())
}
