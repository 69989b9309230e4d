//! An HTTP answer over a stream of its own: the status, and the body whichever way its end is told.

use std::io::{self, BufRead, BufReader, Read};

use crate::decompress::BUFFER;

/// The longest head of an answer that is read.
const HEAD_MAX: usize = 64 << 10;
/// The most header fields.
const FIELDS_MAX: usize = 100;
/// The longest line before a chunk.
const CHUNK_LINE_MAX: u64 = 1 << 10;

/// An answer whose body is still to come.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Box<dyn Read + Send>,
}

impl Answer {
    /// Reads the head of an answer.
    pub(super) fn read(stream: impl Read + Send + 'static) -> io::Result<Self> {
        let mut stream = BufReader::with_capacity(BUFFER, stream);
        let mut head = Vec::new();
        loop {
            if line(&mut stream, &mut head, HEAD_MAX as u64)? <= 2 {
                break;
            }
            if head.len() > HEAD_MAX {
                return Err(invalid("an endless header"));
            }
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        response.parse(&head).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let status = response.code.ok_or_else(|| invalid("an answer without status"))?;
        let field = |name: &str| {
            let found = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(found.value).ok().map(str::trim)
        };
        let body: Box<dyn Read + Send> = match (field("transfer-encoding"), field("content-length")) {
            (Some(encoding), _) if encoding.eq_ignore_ascii_case("chunked") => {
                Box::new(Chunked { stream, left: 0, state: State::Size })
            }
            (Some(_), _) => return Err(invalid("an unknown transfer encoding")),
            (None, Some(length)) => {
                let left = length.parse().map_err(|_| invalid("a wrong content length"))?;
                Box::new(Sized { stream, left })
            }
            (None, None) => Box::new(stream),
        };
        Ok(Self { status, body })
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Appends a line with its end; returns its length.
fn line(stream: &mut impl BufRead, to: &mut Vec<u8>, max: u64) -> io::Result<usize> {
    let got = stream.take(max).read_until(b'\n', to)?;
    match to.last() {
        Some(b'\n') if got > 0 => Ok(got),
        _ if got as u64 == max => Err(invalid("an endless line")),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A body of a length that was told.
struct Sized<R> {
    stream: R,
    left: u64,
}

impl<R: Read> Read for Sized<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_part(&mut self.stream, &mut self.left, buffer)
    }
}

/// Reads at most `left` bytes; an end before them is an error.
fn read_part(stream: &mut impl Read, left: &mut u64, buffer: &mut [u8]) -> io::Result<usize> {
    let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
    let got = stream.read(buffer)?;
    if got == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    *left = left.saturating_sub(got as u64);
    Ok(got)
}

enum State {
    /// A chunk's size comes.
    Size,
    /// A chunk's bytes come.
    Data,
    /// The last chunk was there.
    End,
}

/// A body in chunks, each after its size.
struct Chunked<R> {
    stream: R,
    left: u64,
    state: State,
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let mut text = Vec::new();
            match self.state {
                State::End => return Ok(0),
                State::Data if self.left > 0 => return read_part(&mut self.stream, &mut self.left, buffer),
                State::Data => {
                    if line(&mut self.stream, &mut text, CHUNK_LINE_MAX)? > 2 {
                        return Err(invalid("a chunk longer than its size"));
                    }
                    self.state = State::Size;
                }
                State::Size => {
                    line(&mut self.stream, &mut text, CHUNK_LINE_MAX)?;
                    match httparse::parse_chunk_size(&text) {
                        // What may follow the last chunk tells nothing about the body.
                        Ok(httparse::Status::Complete((_, 0))) => self.state = State::End,
                        Ok(httparse::Status::Complete((_, size))) => {
                            (self.left, self.state) = (size, State::Data);
                        }
                        _ => return Err(invalid("a chunk without a size")),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(answer: &'static str) -> io::Result<(u16, String)> {
        let mut answer = Answer::read(answer.as_bytes())?;
        let mut text = String::new();
        answer.body.read_to_string(&mut text)?;
        Ok((answer.status, text))
    }

    #[test]
    fn bodies_end_in_three_ways() {
        for (answer, status, text) in [
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
                200,
                "abc0123456789",
            ),
            ("HTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\nabc", 404, "ab"),
            ("HTTP/1.0 200 OK\r\n\r\nall of it", 200, "all of it"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, ""),
        ] {
            assert_eq!(body(answer).unwrap(), (status, text.to_owned()), "{answer}");
        }
    }

    #[test]
    fn cut_and_wrong_answers_are_errors() {
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
        ] {
            assert!(body(answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn endless_heads_are_refused() {
        let answer = io::Cursor::new(b"HTTP/1.1 200 OK\r\n").chain(io::repeat(b'a'));
        assert!(Answer::read(answer).is_err());
        let fields = "a: b\r\n".repeat(HEAD_MAX);
        assert!(Answer::read(io::Cursor::new(format!("HTTP/1.1 200 OK\r\n{fields}"))).is_err());
    }
}
