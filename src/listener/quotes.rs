//! A raw `"` in a request's target, taken as the `%22` it should have been.
//!
//! RFC 3986 allows no quotation mark in a URI, and hyper answers such a request with a bare 400 before any room sees
//! it. But Zoho's Calendar pages write JSON into the query as it stands, and clients that build their URL by hand send
//! it so. The mark has one meaning only, so it is encoded here, on its way from the socket to hyper, and in the request
//! line alone.
//!
//! Where a request line begins is known without following bodies: on a new connection, and where what comes in after an
//! answer begins like one (`PUT /`). Whatever is missed stays as it was, and hyper refuses it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose request lines hold no raw quotation mark.
#[derive(Debug)]
pub(super) struct Quotes<S> {
    stream: S,
    at: At,
    /// Encoded bytes that did not fit into the reader's buffer.
    left_over: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the first byte of a connection.
    FirstRequest,
    /// After an answer went out.
    NextRequest,
    RequestLine,
    Elsewhere,
}

impl<S> Quotes<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, at: At::FirstRequest, left_over: Vec::new() }
    }

    /// How many of these bytes belong to a request line, counted from the first.
    fn request_line(&mut self, bytes: &[u8]) -> usize {
        self.at = match self.at {
            At::FirstRequest if bytes.is_empty() => At::FirstRequest,
            At::FirstRequest | At::RequestLine => At::RequestLine,
            At::NextRequest if begins_like_a_request(bytes) => At::RequestLine,
            At::NextRequest | At::Elsewhere => At::Elsewhere,
        };
        if self.at != At::RequestLine {
            return 0;
        }
        match bytes.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                self.at = At::Elsewhere;
                end
            }
            None => bytes.len(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Quotes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left_over.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            let line = self.request_line(&buffer.filled()[before..]);
            if !buffer.filled()[before..before + line].contains(&b'"') {
                return Poll::Ready(Ok(()));
            }
            let (line, rest) = buffer.filled()[before..].split_at(line);
            self.left_over = encoded(line);
            self.left_over.extend_from_slice(rest);
            buffer.set_filled(before);
        }
        let fits = self.left_over.len().min(buffer.remaining());
        buffer.put_slice(&self.left_over[..fits]);
        self.left_over.drain(..fits);
        Poll::Ready(Ok(()))
    }
}

fn encoded(line: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(line.len() + 64);
    for &byte in line {
        match byte {
            b'"' => encoded.extend_from_slice(b"%22"),
            _ => encoded.push(byte),
        }
    }
    encoded
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Quotes<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.answering(bytes);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.answering(slices.first().map_or(&[], |slice| slice));
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> Quotes<S> {
    /// After an answer the next request may come; after an interim one (`100 Continue`) a body does.
    fn answering(&mut self, bytes: &[u8]) {
        if self.at == At::Elsewhere && bytes.starts_with(b"HTTP/1.") && bytes.get(9) != Some(&b'1') {
            self.at = At::NextRequest;
        }
    }
}

/// `PUT /...` or `GET http://...`: letters, a space, and the beginning of a target.
fn begins_like_a_request(bytes: &[u8]) -> bool {
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    method > 0 && matches!(bytes.get(method..method + 2), Some(b" /" | b" h"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// What is read when these pieces come in one by one, through a buffer of so many bytes.
    async fn read(pieces: &[&str], buffer: usize) -> String {
        let (mut outside, inside) = duplex(4096);
        let mut quotes = Quotes::new(inside);
        let mut seen = String::new();
        for piece in pieces {
            outside.write_all(piece.as_bytes()).await.unwrap();
            take(&mut quotes, buffer, &mut seen).await;
        }
        seen
    }

    async fn take(quotes: &mut Quotes<DuplexStream>, buffer: usize, seen: &mut String) {
        let mut bytes = vec![0; buffer];
        while let Ok(Ok(read)) =
            tokio::time::timeout(std::time::Duration::from_millis(5), quotes.read(&mut bytes)).await
        {
            seen.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn encodes_quotes_in_the_request_line_alone() {
        let request = "PUT /a?b={\"c\":\"d\"} HTTP/1.1\r\nx: \"y\"\r\n\r\n{\"e\":1}";
        let expected = "PUT /a?b={%22c%22:%22d%22} HTTP/1.1\r\nx: \"y\"\r\n\r\n{\"e\":1}";
        for buffer in [1, 2, 3, 7, 1024] {
            assert_eq!(read(&[request], buffer).await, expected, "{buffer}");
        }
        let pieces: Vec<_> = request.split_inclusive(|_: char| true).collect();
        assert_eq!(read(&pieces, 1024).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_left_alone_until_an_answer_went_out() {
        let (mut outside, inside) = duplex(4096);
        let mut quotes = Quotes::new(inside);
        let mut seen = String::new();
        for piece in ["PUT /a HTTP/1.1\r\n\r\n", "GET /\"body\"\n"] {
            outside.write_all(piece.as_bytes()).await.unwrap();
            take(&mut quotes, 1024, &mut seen).await;
        }
        quotes.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        outside.write_all(b"GET /\"next\" HTTP/1.1\r\n\r\n").await.unwrap();
        take(&mut quotes, 1024, &mut seen).await;
        assert_eq!(seen, "PUT /a HTTP/1.1\r\n\r\nGET /\"body\"\nGET /%22next%22 HTTP/1.1\r\n\r\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_was_waited_for_is_left_alone() {
        let (mut outside, inside) = duplex(4096);
        let mut quotes = Quotes::new(inside);
        let mut seen = String::new();
        for (answer, piece) in [("", "PUT / HTTP/1.1\r\n\r\n"), ("HTTP/1.1 100 Continue\r\n\r\n", "PUT /\"body\"")] {
            quotes.write_all(answer.as_bytes()).await.unwrap();
            outside.write_all(piece.as_bytes()).await.unwrap();
            take(&mut quotes, 1024, &mut seen).await;
        }
        assert_eq!(seen, "PUT / HTTP/1.1\r\n\r\nPUT /\"body\"");
    }

    #[test]
    fn knows_a_request_by_its_beginning() {
        for (bytes, expected) in [
            ("PUT /a", true),
            ("GET http://a", true),
            ("PUT a", false),
            ("put /a", false),
            ("X={\"a\"}", false),
            ("", false),
        ] {
            assert_eq!(begins_like_a_request(bytes.as_bytes()), expected, "{bytes}");
        }
    }
}
