//! The way to a server, which a test can cut.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A port that leads to a port of a server.
pub(crate) struct Link {
    port: u16,
    is_open: watch::Sender<bool>,
}

impl Link {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let is_open = watch::Sender::new(true);
        let seen = is_open.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, server, seen.clone()));
            }
        });
        Self { port, is_open }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Closes all connections; new ones are closed at once.
    pub(crate) fn cut(&self) {
        self.is_open.send_replace(false);
    }

    /// New connections lead to the server again.
    pub(crate) fn restore(&self) {
        self.is_open.send_replace(true);
    }
}

async fn carry(mut near: TcpStream, server: u16, mut is_open: watch::Receiver<bool>) {
    if !*is_open.borrow() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = is_open.wait_for(|is_open| !is_open) => {}
    }
}
