//! A server that accepts no connection and sends no error.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::until;

/// Its queue of connections is full, so the kernel answers no further ones.
pub(crate) struct Mute {
    address: SocketAddr,
    /// The connections that fill the queue, some of them still in the handshake.
    trying: usize,
    _sockets: Vec<Socket>,
}

impl Mute {
    pub(crate) fn start() -> Self {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let listener = socket();
        listener.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).expect("a free port");
        listener.listen(0).expect("it listens");
        let bound = listener.local_addr().expect("it is bound");
        let address = bound.as_socket().expect("an address");
        let mut sockets = vec![listener];
        for _ in 0..4 {
            let waiting = socket();
            waiting.set_nonblocking(true).expect("it can be");
            // It is in progress, which counts as an error here.
            let _ = waiting.connect(&bound);
            sockets.push(waiting);
        }
        Self { address, trying: trying(address), _sockets: sockets }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Resolves when a client tries to connect.
    pub(crate) async fn until_tried(&self) {
        until("a client tries to connect", async || trying(self.address) > self.trying).await;
    }
}

/// How many connections to the address are in the handshake, by the kernel's table.
fn trying(address: SocketAddr) -> usize {
    const SYN_SENT: &str = "02";
    let remote = format!(":{:04X}", address.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel tells of its sockets");
    let mut count = 0;
    for line in table.lines() {
        let mut fields = line.split_whitespace().skip(2);
        let (to, state) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        count += usize::from(to.ends_with(&remote) && state == SYN_SENT);
    }
    count
}
