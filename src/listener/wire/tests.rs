use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{
    incoming::{NOT_CHUNKED, PLACEHOLDER_HEAD},
    linger::{LINGER, MIN_PER_PERIOD, PERIOD},
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

/// Longer than a read of available bytes takes, shorter than every timeout.
const SOON: Duration = Duration::from_millis(5);

struct Connection {
    outside: DuplexStream,
    inside: StrictHttp1<DuplexStream>,
    connection_state: Arc<ConnectionState>,
}

impl Connection {
    fn new() -> Self {
        let (outside, inside) = duplex(4096);
        let connection_state = Arc::<ConnectionState>::default();
        Self {
            outside,
            inside: StrictHttp1::new(inside, TIMEOUTS, IdleConnections::default(), Arc::clone(&connection_state)),
            connection_state,
        }
    }

    /// Sends a piece and reads what is available, through a buffer of `buffer` bytes.
    async fn pass(&mut self, piece: &str, buffer: usize) -> String {
        self.outside.write_all(piece.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while let Ok(read) = tokio::time::timeout(SOON, self.read(buffer)).await {
            match read.unwrap() {
                piece if piece.is_empty() => break,
                piece => seen.extend(piece),
            }
        }
        String::from_utf8(seen).unwrap()
    }

    async fn read(&mut self, buffer: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; buffer];
        let read = self.inside.read(&mut bytes).await?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Answers the next request as the service does, and gives its fault.
    fn answer(&self) -> Option<ProtocolFault> {
        let request_state = self.connection_state.begin_request();
        drop(TrackedBody::new(crate::message::body::Body::default(), Arc::clone(&self.connection_state)));
        request_state.fault()
    }
}

const HEAD: &str = "PUT /a HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn valid_requests_pass_unchanged() {
    let chunked = "POST /a HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n";
    let requests = format!("{HEAD}abc{chunked}GET /c HTTP/1.1\r\nHost: b\r\n\r\n");
    for buffer in [1, 2, 3, 7, 64, 4096] {
        assert_eq!(Connection::new().pass(&requests, buffer).await, requests, "{buffer}");
    }
    let mut connection = Connection::new();
    let mut seen = String::new();
    for byte in requests.chars() {
        seen += &connection.pass(&byte.to_string(), 4096).await;
    }
    assert_eq!(seen, requests);
}

#[tokio::test(start_paused = true)]
async fn hyper_gets_one_message_at_a_time() {
    let mut connection = Connection::new();
    connection.outside.write_all(format!("{HEAD}abc{HEAD}").as_bytes()).await.unwrap();
    assert_eq!(connection.read(4096).await.unwrap(), format!("{HEAD}abc").as_bytes());
    assert_eq!(connection.read(4096).await.unwrap(), HEAD.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn quotes_are_encoded_in_request_lines_only() {
    let request = "PUT /a?b={\"c\":\"d\"} HTTP/1.1\r\nHost: b\r\nContent-Length: 7\r\nX: \"y\"\r\n\r\n{\"e\":1}";
    let expected = request.replacen("{\"c\":\"d\"}", "{%22c%22:%22d%22}", 1);
    for buffer in [1, 3, 4096] {
        let mut connection = Connection::new();
        assert_eq!(
            connection.pass(&format!("{request}\r\n{request}"), buffer).await,
            format!("{expected}\r\n{expected}")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_reaches_the_service_with_its_request() {
    let mut connection = Connection::new();
    let seen = connection.pass(&format!("{HEAD}abcGET /\"x\" HTTP/1.1\nHost: b\r\n\r\n{HEAD}"), 4096).await;
    let placeholder = String::from_utf8(PLACEHOLDER_HEAD.to_vec()).unwrap();
    assert_eq!(seen, format!("{HEAD}abc{placeholder}"), "nothing follows it");
    assert_eq!(connection.answer(), None);
    assert!(matches!(connection.answer(), Some(Malformed(_))));
    let mut connection = Connection::new();
    connection.pass(&format!("{}X: {}", HEAD.trim_end(), "x".repeat(2000)), 4096).await;
    assert_eq!(connection.answer(), Some(HeadTooLarge));
}

#[tokio::test(start_paused = true)]
async fn a_head_must_be_complete_in_time() {
    let mut connection = Connection::new();
    let began = clock::now();
    for byte in "GET / HT".chars() {
        assert_eq!(connection.pass(&byte.to_string(), 64).await, "");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let placeholder = connection.read(4096).await.unwrap();
    assert_eq!(placeholder, PLACEHOLDER_HEAD);
    assert_eq!(connection.answer(), Some(HeadTimeout));
    let took = (clock::now() - began).as_secs();
    assert_eq!(took, 10, "counted from its first byte");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_without_an_answer() {
    for requests in [0, 1] {
        let mut connection = Connection::new();
        for _ in 0..requests {
            assert_eq!(connection.pass(&format!("{HEAD}abc"), 4096).await.len(), HEAD.len() + 3);
        }
        let began = clock::now();
        let connection_state = Arc::clone(&connection.connection_state);
        // A connection that waits for an answer is not idle, and hyper does not read again after the answer.
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(500)).await;
            for _ in 0..requests {
                drop(TrackedBody::new(crate::message::body::Body::default(), Arc::clone(&connection_state)));
            }
        });
        assert_eq!(connection.read(64).await.unwrap(), b"");
        assert_eq!((clock::now() - began).as_secs(), 60 + 500 * requests);
    }
}

/// A connection that waits for an answer or has begun a request is not idle.
#[tokio::test(start_paused = true)]
async fn only_idle_connections_are_closed_for_others() {
    let outcome = async |sent: &str, answered: bool| {
        let mut connection = Connection::new();
        connection.pass(sent, 4096).await;
        if answered {
            connection.answer();
        }
        assert!(tokio::time::timeout(Duration::from_secs(2), connection.read(64)).await.is_err());
        let idle = connection.inside.idle.clone();
        let _waiting = idle.close_longest_idle();
        tokio::time::timeout(Duration::from_secs(2), connection.read(64)).await.map(Result::unwrap).ok()
    };
    let whole = format!("{HEAD}abc");
    assert_eq!(outcome("", false).await, Some(Vec::new()));
    assert_eq!(outcome(&whole, true).await, Some(Vec::new()));
    assert_eq!(outcome(&whole, false).await, None);
    assert_eq!(outcome("GET / HT", false).await, None);
    assert_eq!(outcome(HEAD, false).await, None);

    // hyper does not read again after an answer.
    let mut connection = Connection::new();
    connection.pass(&whole, 4096).await;
    let (connection_state, idle) = (Arc::clone(&connection.connection_state), connection.inside.idle.clone());
    let began = clock::now();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(TrackedBody::new(crate::message::body::Body::default(), connection_state));
        tokio::time::sleep(Duration::from_secs(3)).await;
        let _waiting = idle.close_longest_idle();
    });
    assert_eq!(connection.read(64).await.unwrap(), b"");
    assert_eq!((clock::now() - began).as_secs(), 33);
}

#[tokio::test(start_paused = true)]
async fn the_pauses_of_a_body_add_up() {
    let mut connection = Connection::new();
    let head = HEAD.replace("3", "1000");
    assert_eq!(connection.pass(&head, 4096).await, head);
    let mut pauses = 0;
    loop {
        match tokio::time::timeout(Duration::from_secs(4), connection.read(64)).await {
            Ok(bytes) if bytes.as_ref().unwrap().is_empty() => break,
            Ok(bytes) => assert_eq!(bytes.unwrap(), b"x"),
            Err(_) => {
                pauses += 1;
                connection.outside.write_all(b"x").await.unwrap();
            }
        }
    }
    assert_eq!((connection.answer(), pauses), (Some(BodyTimeout), 7), "30 s in pauses of 4 s");
}

#[tokio::test(start_paused = true)]
async fn each_body_has_its_own_timeout() {
    let mut connection = Connection::new();
    for _ in 0..4 {
        assert_eq!(connection.pass(HEAD, 4096).await, HEAD);
        assert!(tokio::time::timeout(Duration::from_secs(20), connection.read(64)).await.is_err());
        assert_eq!(connection.pass("abc", 64).await, "abc");
        connection.answer();
    }
}

/// hyper does not read a streamed body while its call is in the queue.
#[tokio::test(start_paused = true)]
async fn time_without_reads_does_not_count_as_a_pause() {
    let mut connection = Connection::new();
    assert_eq!(connection.pass(HEAD, 4096).await, HEAD);
    for byte in ["a", "b"] {
        assert!(tokio::time::timeout(SOON, connection.read(64)).await.is_err());
        tokio::time::sleep(Duration::from_secs(600)).await;
        connection.outside.write_all(byte.as_bytes()).await.unwrap();
        assert_eq!(connection.read(64).await.unwrap(), byte.as_bytes());
    }
    assert!(tokio::time::timeout(Duration::from_secs(20), connection.read(64)).await.is_err());
    assert_eq!(connection.read(64).await.unwrap(), b"");
    assert_eq!(connection.answer(), Some(BodyTimeout));
}

#[tokio::test(start_paused = true)]
async fn a_malformed_body_is_cut() {
    let mut connection = Connection::new();
    let head = "POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(connection.pass(head, 4096).await, head);
    connection.outside.write_all(b"3\nabc\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(connection.read(64).await.unwrap(), b"");
    assert_eq!(connection.answer(), Some(NOT_CHUNKED));
    let mut connection = Connection::new();
    assert_eq!(connection.pass(&format!("{head}3\nabc"), 4096).await, head);
    assert_eq!(connection.answer(), Some(NOT_CHUNKED), "known as soon as the head is handed on");
}

#[tokio::test(start_paused = true)]
async fn an_answer_must_be_taken_in_time() {
    let mut connection = Connection::new();
    connection.inside.write_all(&[b'x'; 4096]).await.unwrap();
    let began = clock::now();
    let stuck = connection.inside.write_all(b"x").await;
    assert_eq!(stuck.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!((clock::now() - began).as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_slowly_taken_answer_is_cut() {
    for (taken, is_cut) in [(100, true), (40 * 1024, false)] {
        let Connection { mut outside, mut inside, .. } = Connection::new();
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
        let sent = inside.write_all(&vec![b'x'; 10 * 40 * 1024]).await;
        let seconds = (clock::now() - began).as_secs();
        match sent {
            Err(error) => assert!(is_cut && error.kind() == io::ErrorKind::TimedOut && seconds <= 21, "{error}"),
            Ok(()) => assert!(!is_cut && seconds > 50),
        }
        drop(inside);
        reading.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_still_arrive_are_read_for_a_while_at_the_end() {
    let mut connection = Connection::new();
    connection.pass("nonsense\r\n", 4096).await;
    let sending = tokio::spawn(async move {
        connection.outside.write_all(&[b'x'; 100_000]).await.unwrap();
        connection.outside
    });
    connection.inside.shutdown().await.unwrap();
    let mut outside = sending.await.unwrap();
    let began = clock::now();
    assert_eq!(outside.read(&mut [0]).await.unwrap(), 0);
    assert!(clock::now() - began <= LINGER);
}

/// How many bytes of a body are read after its answer, and for how long. The client goes on sending `bytes` bytes per
/// `interval`.
async fn lingers(head: &str, bytes: usize, interval: Duration) -> (usize, Duration) {
    let mut connection = Connection::new();
    connection.pass(head, 4096).await;
    let mut outside = connection.outside;
    let sending = tokio::spawn(async move {
        let mut taken = 0;
        while bytes > 0 && outside.write_all(&vec![b'x'; bytes]).await.is_ok() {
            taken += bytes;
            tokio::time::sleep(interval).await;
        }
        // The connection stays open in both cases.
        (taken, outside)
    });
    let began = clock::now();
    connection.inside.shutdown().await.unwrap();
    drop(connection.inside);
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
    // The bytes after it were not declared.
    assert!(took < 39 * steadily + 2 * LINGER, "{took:?}");
    // A chunk of 2,000,000 bytes.
    let (taken, _) = lingers(&(head("Transfer-Encoding: chunked") + "1E8480\r\n"), 50_000, steadily).await;
    assert!(taken >= declared, "{taken}");
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_slow_body_is_soon_given_up() {
    let head = |length: u64| HEAD.replace("3\r\n", &format!("{length}\r\n"));
    let (_, took) = lingers(&head(1 << 40), 10, Duration::from_millis(20)).await;
    assert_eq!(took, PERIOD);
    let (_, took) = lingers(&head(1 << 40), 0, Duration::from_millis(20)).await;
    assert_eq!(took, PERIOD, "nothing arrives, as after a rejected expectation");
    // The same for a client that declares more than is read.
    let (_, took) = lingers(&head(1 << 40), MIN_PER_PERIOD as usize, Duration::from_millis(500)).await;
    assert!(took > 20 * PERIOD && took <= TIMEOUTS.body_timeout, "{took:?}");
    let (taken, took) = lingers(&head(1 << 40), 1 << 20, Duration::from_millis(10)).await;
    assert!((64 << 20..=66 << 20).contains(&taken) && took < TIMEOUTS.body_timeout, "{taken} in {took:?}");
}
