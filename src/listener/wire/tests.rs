use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{
    incoming::{NOT_CHUNKED, STANDS_FOR_A_FAULT},
    linger::{LEAST, LINGER, PERIOD},
    *,
};
use crate::{
    message::protocol::ProtocolFault::{self, BodyTimeout, HeadTimeout, HeadTooLarge, Malformed},
    os::clock,
};

pub(in crate::listener) const TIMEOUTS: Timeouts = Timeouts {
    head: HeadLimits { bytes: 1024, fields: 10 },
    max_body: 1024,
    header_timeout: Duration::from_secs(10),
    body_timeout: Duration::from_secs(30),
    send_timeout: Duration::from_secs(20),
    idle_timeout: Duration::from_secs(60),
};

/// Longer than anything here waits for that has its say, shorter than any patience.
const A_WHILE: Duration = Duration::from_millis(5);

struct Line {
    outside: DuplexStream,
    wire: Wire<DuplexStream>,
    connection_state: Arc<ConnectionState>,
}

impl Line {
    fn new() -> Self {
        let (outside, inside) = duplex(4096);
        let connection_state = Arc::<ConnectionState>::default();
        Self {
            outside,
            wire: Wire::new(inside, TIMEOUTS, IdleConnections::default(), Arc::clone(&connection_state)),
            connection_state,
        }
    }

    /// Sends, and reads what can be read, through a buffer of so many bytes.
    async fn pass(&mut self, piece: &str, buffer: usize) -> String {
        self.outside.write_all(piece.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while let Ok(read) = tokio::time::timeout(A_WHILE, self.read(buffer)).await {
            match read.unwrap() {
                piece if piece.is_empty() => break,
                piece => seen.extend(piece),
            }
        }
        String::from_utf8(seen).unwrap()
    }

    async fn read(&mut self, buffer: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; buffer];
        let read = self.wire.read(&mut bytes).await?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// A request comes through to the service, and is answered.
    fn answer(&self) -> Option<ProtocolFault> {
        let request_state = self.connection_state.begins();
        drop(Answering::new(crate::message::body::Body::default(), Arc::clone(&self.connection_state)));
        request_state.fault()
    }
}

const HEAD: &str = "PUT /a HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn what_is_sound_passes_as_it_came() {
    let chunked = "POST /a HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n";
    let requests = format!("{HEAD}abc{chunked}GET /c HTTP/1.1\r\nHost: b\r\n\r\n");
    for buffer in [1, 2, 3, 7, 64, 4096] {
        assert_eq!(Line::new().pass(&requests, buffer).await, requests, "{buffer}");
    }
    let mut line = Line::new();
    let mut seen = String::new();
    for byte in requests.chars() {
        seen += &line.pass(&byte.to_string(), 4096).await;
    }
    assert_eq!(seen, requests);
}

#[tokio::test(start_paused = true)]
async fn hyper_gets_one_message_at_a_time() {
    let mut line = Line::new();
    line.outside.write_all(format!("{HEAD}abc{HEAD}").as_bytes()).await.unwrap();
    assert_eq!(line.read(4096).await.unwrap(), format!("{HEAD}abc").as_bytes());
    assert_eq!(line.read(4096).await.unwrap(), HEAD.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn quotes_are_encoded_in_request_lines_alone() {
    let request = "PUT /a?b={\"c\":\"d\"} HTTP/1.1\r\nHost: b\r\nContent-Length: 7\r\nX: \"y\"\r\n\r\n{\"e\":1}";
    let expected = request.replacen("{\"c\":\"d\"}", "{%22c%22:%22d%22}", 1);
    for buffer in [1, 3, 4096] {
        let mut line = Line::new();
        assert_eq!(line.pass(&format!("{request}\r\n{request}"), buffer).await, format!("{expected}\r\n{expected}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_reaches_the_service_with_its_own_request() {
    let mut line = Line::new();
    let seen = line.pass(&format!("{HEAD}abcGET /\"x\" HTTP/1.1\nHost: b\r\n\r\n{HEAD}"), 4096).await;
    let stands_for_it = String::from_utf8(STANDS_FOR_A_FAULT.to_vec()).unwrap();
    assert_eq!(seen, format!("{HEAD}abc{stands_for_it}"), "nothing comes after it");
    assert_eq!(line.answer(), None);
    assert!(matches!(line.answer(), Some(Malformed(_))));
    let mut line = Line::new();
    line.pass(&format!("{}X: {}", HEAD.trim_end(), "x".repeat(2000)), 4096).await;
    assert_eq!(line.answer(), Some(HeadTooLarge));
}

#[tokio::test(start_paused = true)]
async fn a_head_has_to_be_complete_in_time() {
    let mut line = Line::new();
    let began = clock::now();
    for byte in "GET / HT".chars() {
        assert_eq!(line.pass(&byte.to_string(), 64).await, "");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let stands_for_it = line.read(4096).await.unwrap();
    assert_eq!(stands_for_it, STANDS_FOR_A_FAULT);
    assert_eq!(line.answer(), Some(HeadTimeout));
    let took = (clock::now() - began).as_secs();
    assert_eq!(took, 10, "from its first byte on, however it drips");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_without_a_word() {
    for requests in [0, 1] {
        let mut line = Line::new();
        for _ in 0..requests {
            assert_eq!(line.pass(&format!("{HEAD}abc"), 4096).await.len(), HEAD.len() + 3);
        }
        let began = clock::now();
        let connection_state = Arc::clone(&line.connection_state);
        // Nobody counts as idle who waits for an answer, and hyper does not look again when it is out.
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(500)).await;
            for _ in 0..requests {
                drop(Answering::new(crate::message::body::Body::default(), Arc::clone(&connection_state)));
            }
        });
        assert_eq!(line.read(64).await.unwrap(), b"");
        assert_eq!((clock::now() - began).as_secs(), 60 + 500 * requests);
    }
}

/// Whoever is served, or has begun to speak, is not in the way.
#[tokio::test(start_paused = true)]
async fn only_idle_connections_give_way() {
    let outcome = async |sent: &str, answered: bool| {
        let mut line = Line::new();
        line.pass(sent, 4096).await;
        if answered {
            line.answer();
        }
        assert!(tokio::time::timeout(Duration::from_secs(2), line.read(64)).await.is_err());
        let idle = line.wire.idle.clone();
        let _wanted = idle.give_way();
        tokio::time::timeout(Duration::from_secs(2), line.read(64)).await.map(Result::unwrap).ok()
    };
    let whole = format!("{HEAD}abc");
    assert_eq!(outcome("", false).await, Some(Vec::new()));
    assert_eq!(outcome(&whole, true).await, Some(Vec::new()));
    assert_eq!(outcome(&whole, false).await, None);
    assert_eq!(outcome("GET / HT", false).await, None);
    assert_eq!(outcome(HEAD, false).await, None);

    // hyper does not look again when an answer is out.
    let mut line = Line::new();
    line.pass(&whole, 4096).await;
    let (connection_state, idle) = (Arc::clone(&line.connection_state), line.wire.idle.clone());
    let began = clock::now();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(Answering::new(crate::message::body::Body::default(), connection_state));
        tokio::time::sleep(Duration::from_secs(3)).await;
        let _wanted = idle.give_way();
    });
    assert_eq!(line.read(64).await.unwrap(), b"");
    assert_eq!((clock::now() - began).as_secs(), 33);
}

#[tokio::test(start_paused = true)]
async fn the_pauses_of_a_body_add_up() {
    let mut line = Line::new();
    let head = HEAD.replace("3", "1000");
    assert_eq!(line.pass(&head, 4096).await, head);
    let mut pauses = 0;
    loop {
        match tokio::time::timeout(Duration::from_secs(4), line.read(64)).await {
            Ok(bytes) if bytes.as_ref().unwrap().is_empty() => break,
            Ok(bytes) => assert_eq!(bytes.unwrap(), b"x"),
            Err(_) => {
                pauses += 1;
                line.outside.write_all(b"x").await.unwrap();
            }
        }
    }
    assert_eq!((line.answer(), pauses), (Some(BodyTimeout), 7), "30 s in pauses of 4 s");
}

#[tokio::test(start_paused = true)]
async fn each_body_has_its_own_patience() {
    let mut line = Line::new();
    for _ in 0..4 {
        assert_eq!(line.pass(HEAD, 4096).await, HEAD);
        assert!(tokio::time::timeout(Duration::from_secs(20), line.read(64)).await.is_err());
        assert_eq!(line.pass("abc", 64).await, "abc");
        line.answer();
    }
}

/// As hyper does while a call with a streamed body queues.
#[tokio::test(start_paused = true)]
async fn who_does_not_ask_is_not_waiting() {
    let mut line = Line::new();
    assert_eq!(line.pass(HEAD, 4096).await, HEAD);
    for byte in ["a", "b"] {
        assert!(tokio::time::timeout(A_WHILE, line.read(64)).await.is_err());
        tokio::time::sleep(Duration::from_secs(600)).await;
        line.outside.write_all(byte.as_bytes()).await.unwrap();
        assert_eq!(line.read(64).await.unwrap(), byte.as_bytes());
    }
    assert!(tokio::time::timeout(Duration::from_secs(20), line.read(64)).await.is_err());
    assert_eq!(line.read(64).await.unwrap(), b"");
    assert_eq!(line.answer(), Some(BodyTimeout));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_none_breaks_off() {
    let mut line = Line::new();
    let head = "POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(line.pass(head, 4096).await, head);
    line.outside.write_all(b"3\nabc\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(line.read(64).await.unwrap(), b"");
    assert_eq!(line.answer(), Some(NOT_CHUNKED));
    let mut line = Line::new();
    assert_eq!(line.pass(&format!("{head}3\nabc"), 4096).await, head);
    assert_eq!(line.answer(), Some(NOT_CHUNKED), "told by the time the head is there");
}

#[tokio::test(start_paused = true)]
async fn an_answer_has_to_be_taken() {
    let mut line = Line::new();
    line.wire.write_all(&[b'x'; 4096]).await.unwrap();
    let began = clock::now();
    let stuck = line.wire.write_all(b"x").await;
    assert_eq!(stuck.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!((clock::now() - began).as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_taken_by_drops_has_to_be_taken_too() {
    for (taken, breaks_off) in [(100, true), (40 * 1024, false)] {
        let Line { mut outside, mut wire, .. } = Line::new();
        let began = clock::now();
        let reading = tokio::spawn(async move {
            let mut left = 10 * 40 * 1024;
            while left > 0 {
                tokio::time::sleep(Duration::from_secs(6)).await;
                let mut piece = vec![0; taken.min(left)];
                if outside.read_exact(&mut piece).await.is_err() {
                    return;
                }
                left -= piece.len();
            }
        });
        let sent = wire.write_all(&vec![b'x'; 10 * 40 * 1024]).await;
        let seconds = (clock::now() - began).as_secs();
        match sent {
            Err(error) => assert!(breaks_off && error.kind() == io::ErrorKind::TimedOut && seconds <= 21, "{error}"),
            Ok(()) => assert!(!breaks_off && seconds > 50),
        }
        drop(wire);
        reading.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_still_being_sent_is_taken_for_a_while_at_the_end() {
    let mut line = Line::new();
    line.pass("nonsense\r\n", 4096).await;
    let sending = tokio::spawn(async move {
        line.outside.write_all(&[b'x'; 100_000]).await.unwrap();
        line.outside
    });
    line.wire.shutdown().await.unwrap();
    let mut outside = sending.await.unwrap();
    let began = clock::now();
    assert_eq!(outside.read(&mut [0]).await.unwrap(), 0);
    assert!(clock::now() - began <= LINGER);
}

/// How much of a body is read after its answer, of a client that goes on sending so many bytes at such intervals, and how
/// long that takes.
async fn lingers(head: &str, bytes: usize, interval: Duration) -> (usize, Duration) {
    let mut line = Line::new();
    line.pass(head, 4096).await;
    let mut outside = line.outside;
    let sending = tokio::spawn(async move {
        let mut taken = 0;
        while bytes > 0 && outside.write_all(&vec![b'x'; bytes]).await.is_ok() {
            taken += bytes;
            tokio::time::sleep(interval).await;
        }
        // It stays, whether it sends or not.
        (taken, outside)
    });
    let began = clock::now();
    line.wire.shutdown().await.unwrap();
    drop(line.wire);
    let took = clock::now() - began;
    (sending.await.unwrap().0, took)
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_body_is_read_to_its_declared_end() {
    let declared = 2_000_000;
    let fields = format!("Content-Length: {declared}");
    let head = |fields: &str| format!("PUT /a HTTP/1.1\r\nHost: b\r\n{fields}\r\n\r\n");
    let steadily = Duration::from_millis(400);
    let (taken, took) = lingers(&head(&fields), 50_000, steadily).await;
    assert!(taken >= declared && took > 39 * steadily, "{taken} in {took:?}");
    // Behind it stands what was not declared.
    assert!(took < 39 * steadily + 2 * LINGER, "{took:?}");
    // A chunk of 2,000,000 bytes.
    let (taken, _) = lingers(&(head("Transfer-Encoding: chunked") + "1E8480\r\n"), 50_000, steadily).await;
    assert!(taken >= declared, "{taken}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_trickles_is_not_listened_to_for_long() {
    let head = |length: u64| HEAD.replace("3\r\n", &format!("{length}\r\n"));
    let (_, took) = lingers(&head(1 << 40), 10, Duration::from_millis(20)).await;
    assert_eq!(took, PERIOD);
    let (_, took) = lingers(&head(1 << 40), 0, Duration::from_millis(20)).await;
    assert_eq!(took, PERIOD, "nothing comes, as after an expectation that was not met");
    // Nor to one that declares more than anybody reads.
    let (_, took) = lingers(&head(1 << 40), LEAST as usize, Duration::from_millis(500)).await;
    assert!(took > 20 * PERIOD && took <= TIMEOUTS.body_timeout, "{took:?}");
    let (taken, took) = lingers(&head(1 << 40), 1 << 20, Duration::from_millis(10)).await;
    assert!((64 << 20..=66 << 20).contains(&taken) && took < TIMEOUTS.body_timeout, "{taken} in {took:?}");
}
