//! Finds the end of a request's body (RFC 9112 sections 6.3 and 7.1) byte by byte, without keeping any byte.

use super::{HeadLimits, grammar::is_tchar};

/// The longest extension of a chunk, in bytes. Clients do not send extensions.
const LONGEST_EXTENSION: usize = 256;

/// What is left of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// The number of bytes that are left.
    Length(u64),
    /// Chunks, up to the last one and its trailers.
    Chunked(Chunks),
}

/// What comes next in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// Hexadecimal digits of a chunk's size.
    Size {
        size: u64,
        digits: u8,
    },
    /// The rest of the line after the size.
    Extension {
        size: u64,
        length: usize,
    },
    /// The LF of that line.
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    /// The CR, then the LF after the data.
    DataEnd {
        cr: bool,
    },
    /// The fields after the last chunk.
    Trailers {
        so_far: Trailers,
        at: LinePart,
    },
    /// The LF of a trailer line.
    TrailerEnd {
        so_far: Trailers,
        last: bool,
    },
    Done,
}

/// The size of the trailers that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Trailers {
    bytes: usize,
    fields: usize,
}

/// A part of a field line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinePart {
    Begin,
    Name,
    Value,
}

/// The chunked body is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunked body is malformed")]
pub(super) struct NotChunked;

impl Framing {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks::Size { size: 0, digits: 0 })
    }

    /// Whether the body is complete.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunks::Done))
    }

    /// How many of these bytes, from the first on, belong to the body. The limits of a head also apply to the trailers.
    pub(super) fn follow(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<usize, NotChunked> {
        match self {
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok(taken)
            }
            Self::Chunked(chunks) => {
                let mut taken = 0;
                while taken < bytes.len() && *chunks != Chunks::Done {
                    if let Chunks::Data { left } = chunks {
                        let data = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - taken);
                        *left -= data as u64;
                        taken += data;
                        if *left == 0 {
                            *chunks = Chunks::DataEnd { cr: false };
                        }
                    } else {
                        *chunks = chunks.then(bytes[taken], limits)?;
                        taken += 1;
                    }
                }
                Ok(taken)
            }
        }
    }
}

impl Chunks {
    fn then(self, byte: u8, limits: HeadLimits) -> Result<Self, NotChunked> {
        let longer = |length: usize, most| (length < most).then_some(length + 1).ok_or(NotChunked);
        match (self, byte) {
            // The size is missing, or the extension after the semicolon is missing.
            (Self::Size { digits: 0, .. }, b'\r' | b';') | (Self::Extension { length: 0, .. }, b'\r') => {
                Err(NotChunked)
            }
            (Self::Size { size, .. } | Self::Extension { size, .. }, b'\r') => Ok(Self::SizeEnd { size }),
            (Self::Size { size, .. }, b';') => Ok(Self::Extension { size, length: 0 }),
            (Self::Size { size, digits }, _) => {
                let digit = char::from(byte).to_digit(16).filter(|_| digits < 16).ok_or(NotChunked)?;
                Ok(Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
            }
            (Self::Extension { size, length }, b'\t' | b' '..=b'~' | 0x80..) => {
                Ok(Self::Extension { size, length: longer(length, LONGEST_EXTENSION)? })
            }
            (Self::SizeEnd { size: 0 }, b'\n') => {
                Ok(Self::Trailers { so_far: Trailers::default(), at: LinePart::Begin })
            }
            (Self::SizeEnd { size }, b'\n') => Ok(Self::Data { left: size }),
            (Self::DataEnd { cr: false }, b'\r') => Ok(Self::DataEnd { cr: true }),
            (Self::DataEnd { cr: true }, b'\n') => Ok(Self::Size { size: 0, digits: 0 }),
            (Self::Trailers { so_far, at: LinePart::Begin }, b'\r') => Ok(Self::TrailerEnd { so_far, last: true }),
            (Self::Trailers { so_far, at: LinePart::Value }, b'\r') => Ok(Self::TrailerEnd { so_far, last: false }),
            (Self::Trailers { so_far, at }, _) => {
                let at = match (at, byte) {
                    (LinePart::Name, b':') => LinePart::Value,
                    (LinePart::Begin | LinePart::Name, _) if is_tchar(byte) => LinePart::Name,
                    (LinePart::Value, b'\t' | b' '..=b'~' | 0x80..) => LinePart::Value,
                    _ => return Err(NotChunked),
                };
                let bytes = longer(so_far.bytes, limits.bytes)?;
                Ok(Self::Trailers { so_far: Trailers { bytes, ..so_far }, at })
            }
            (Self::TrailerEnd { last: true, .. }, b'\n') => Ok(Self::Done),
            (Self::TrailerEnd { so_far, last: false }, b'\n') => {
                let fields = longer(so_far.fields, limits.fields)?;
                Ok(Self::Trailers { so_far: Trailers { fields, ..so_far }, at: LinePart::Begin })
            }
            _ => Err(NotChunked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1000, fields: 3 };

    /// How many bytes of a text belong to the body, read whole and byte by byte; `None` for an incomplete or malformed
    /// body.
    fn taken(mut framing: Framing, text: &str) -> Option<usize> {
        let mut slowly = framing;
        let whole = framing.follow(text.as_bytes(), LIMITS);
        let by_byte: Result<usize, _> = text.as_bytes().chunks(1).map(|byte| slowly.follow(byte, LIMITS)).sum();
        assert_eq!(whole, by_byte, "{text}");
        assert_eq!(framing, slowly, "{text}");
        whole.ok().filter(|_| framing.is_done())
    }

    #[test]
    fn ends_where_its_length_says() {
        assert_eq!(taken(Framing::Length(3), "abcdef"), Some(3));
        assert_eq!(taken(Framing::Length(0), "abcdef"), Some(0));
        assert_eq!(taken(Framing::Length(7), "abcdef"), None);
    }

    #[test]
    fn ends_after_its_last_chunk_and_trailers() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "A\r\n0\r\n\r\n12345\r\n0\r\n\r\n",
            "0003;a=\"b\"\r\nabc\r\n000\r\n\r\n",
            "3;a\r\nabc\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n",
        ] {
            assert_eq!(taken(Framing::chunked(), &format!("{body}GET /")), Some(body.len()), "{body}");
        }
    }

    #[test]
    fn ambiguous_and_malformed_chunks_are_rejected() {
        let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(300));
        let trailers = format!("0\r\nX: {}\r\n\r\n", "x".repeat(1000));
        for body in [
            "\r\nabc",
            ";a\r\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\na\r\n0\r\n\r\n",
            "0x3\r\nabc\r\n0\r\n\r\n",
            "3\nabc\r\n0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc0\r\n\r\n",
            "3;\r\nabc\r\n0\r\n\r\n",
            "3 \r\nabc\r\n0\r\n\r\n",
            "3 ;a\r\nabc\r\n0\r\n\r\n",
            "3;\n\r\nabc\r\n0\r\n\r\n",
            "3;a\0\r\nabc\r\n0\r\n\r\n",
            "11111111111111111\r\n",
            "0\r\n\n",
            "0\r\nX\r\n\r\n",
            "0\r\n: 1\r\n\r\n",
            "0\r\nX : 1\r\n\r\n",
            "0\r\nX: 1\r\nX: 2\r\nX: 3\r\nX: 4\r\n\r\n",
            "0\r\nX: 1\n\r\n",
            "0\r\nX: 1\r\n folded\r\n\r\n",
            &long,
            &trailers,
        ] {
            assert_eq!(taken(Framing::chunked(), body), None, "{body}");
        }
    }
}
