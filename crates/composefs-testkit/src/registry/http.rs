//! As much of HTTP/1.1 as a registry's server needs.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::json;

use super::pace::Pace;

/// The most bytes of a request's head.
const HEAD_MAX: u64 = 256 * 1024;

/// A request, read whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// Reads a request, its body at `intake` bytes a second; `None` when the connection ended before one.
    pub(super) fn read<S: Read + Write>(
        stream: &mut BufReader<S>,
        intake: Option<u64>,
        stopping: &AtomicBool,
    ) -> io::Result<Option<Self>> {
        let mut head = stream.by_ref().take(HEAD_MAX);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(bad("request line"));
        };
        let mut request = Self { method: method.to_owned(), target: target.to_owned(), ..Self::default() };
        loop {
            let mut line = String::new();
            head.read_line(&mut line)?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("header"))?;
            request.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            stream.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if request.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            request.body = read_chunks(stream)?;
        } else if let Some(length) = request.header("content-length") {
            let length: u64 = length.parse().map_err(|_| bad("length"))?;
            let mut body = stream.take(length);
            match intake.map(Pace::new) {
                Some(pace) => {
                    while body.by_ref().take(pace.piece() as u64).read_to_end(&mut request.body)? > 0 {
                        pace.keep(request.body.len() as u64);
                        if stopping.load(Ordering::SeqCst) {
                            return Ok(None);
                        }
                    }
                }
                None => drop(body.read_to_end(&mut request.body)?),
            }
            if request.body.len() as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Some(request))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }

    /// All headers of a name, as one list.
    pub(super) fn header_list(&self, name: &str) -> Option<String> {
        let all: Vec<_> =
            self.headers.iter().filter(|(there, _)| there == name).map(|(_, value)| value.as_str()).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// All values of a query parameter, decoded.
    pub(super) fn queries(&self, name: &str) -> Vec<String> {
        form(self.target.split_once('?').map_or("", |(_, query)| query), name)
    }

    pub(super) fn query(&self, name: &str) -> Option<String> {
        self.queries(name).into_iter().next()
    }
}

/// All values of `name` in a form or query.
pub(super) fn form(text: &str, name: &str) -> Vec<String> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(there, _)| decode(there) == name)
        .map(|(_, value)| decode(value))
        .collect()
}

fn decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
                let digits = std::str::from_utf8(&digits).unwrap_or("0");
                out.push(u8::from_str_radix(digits, 16).unwrap_or(b'?'));
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn read_chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).map_err(|_| bad("chunk"))?;
        stream.take(size).read_to_end(&mut body)?;
        // The line's end after a chunk, or after the trailers.
        let mut end = String::new();
        stream.read_line(&mut end)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a {what} that is none"))
}

/// An answer before it is sent.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) data: Arc<Vec<u8>>,
    /// What of `data` is the body.
    pub(super) part: Range<usize>,
}

impl Reply {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), data: Arc::default(), part: 0..0 }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn set(&mut self, name: &str, value: Option<String>) {
        self.headers.retain(|(there, _)| !there.eq_ignore_ascii_case(name));
        self.headers.extend(value.map(|value| (name.to_owned(), value)));
    }

    pub(super) fn body(mut self, data: Arc<Vec<u8>>) -> Self {
        self.part = 0..data.len();
        self.data = data;
        self
    }

    pub(super) fn json(self, value: &serde_json::Value) -> Self {
        self.header("Content-Type", "application/json").body(Arc::new(value.to_string().into_bytes()))
    }

    /// An error as registries tell it.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::new(status).json(&json!({"errors": [{"code": code, "message": message}]}))
    }

    /// Writes status and headers; `length` goes into them.
    pub(super) fn write_head(&self, out: &mut impl Write, length: Length) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match length {
            Length::Known(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
            Length::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Length::Nobody => {}
        }
        head.push_str("\r\n");
        out.write_all(head.as_bytes())
    }
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Known(u64),
    Chunked,
    /// There cannot be a body.
    Nobody,
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
