//! tar-split: a tar put together from what is kept of it and the files that were unpacked.
//!
//! In: lines of JSON, each raw bytes of the tar or the name of a file whose contents come next. Out: the tar, bit
//! by bit; the checksum of each file is checked on the way, and nothing is held in memory but a line. Whether the
//! whole is the layer's tar is for the diff_id to say, which the caller checks.
//!
//! # Format
//! `docs/formats/transports.md`, section 12.

use std::io::{self, BufRead, Read};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{crc64::Crc64, error::StorageError};

/// The longest line in bytes; a line is the headers of one member or a piece of padding.
const LINE_MAX: usize = 16 << 20;
/// A buffer that grew past this for one line is given back.
const BUFFER_KEPT: usize = 256 << 10;
/// What the headers of a sparse member have, whichever version.
const SPARSE: &[u8] = b"GNU.sparse.";

/// A line as it is written.
#[derive(serde::Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: u32,
    name: Option<String>,
    name_raw: Option<&'a str>,
    size: Option<u64>,
    payload: Option<&'a str>,
}

/// A part of the tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// These bytes.
    Raw(&'a [u8]),
    /// A file's contents.
    File(Kept),
}

/// A file whose contents are kept outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name as the tar has it.
    pub name: Vec<u8>,
    /// Its size in bytes; never 0.
    pub size: u64,
    /// The checksum of its contents, if one is recorded.
    pub crc64: Option<u64>,
}

impl Kept {
    /// Returns the name as text, for messages.
    #[must_use]
    pub fn display_name(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

/// Reads the parts of a tar in their order.
#[derive(Debug)]
pub struct Parts<R> {
    lines: R,
    number: u64,
    line: Vec<u8>,
    raw: Vec<u8>,
    /// The raw bytes have a sparse member's headers. Looked for once: any number of files may follow them.
    sparse: bool,
}

impl<R: BufRead> Parts<R> {
    /// Reads parts from lines, which are uncompressed.
    #[must_use]
    pub const fn new(lines: R) -> Self {
        Self { lines, number: 0, line: Vec::new(), raw: Vec::new(), sparse: false }
    }

    /// Returns the next part; `None` at the end.
    ///
    /// # Errors
    /// An [`io::Error`] that wraps [`StorageError::TarSplit`], [`StorageError::Sparse`], or is that of the reader.
    pub fn next_part(&mut self) -> io::Result<Option<Part<'_>>> {
        loop {
            if !self.read_line()? {
                return Ok(None);
            }
            let number = self.number;
            let bad = |reason: String| io::Error::from(StorageError::TarSplit { line: number, reason });
            let line: Line<'_> =
                serde_json::from_slice(&self.line).map_err(|error| bad(error.to_string()))?;
            match line.kind {
                1 => {
                    // Without size it is a directory, a link, a device or an empty file: nothing comes.
                    let Some(size) = line.size.filter(|size| *size > 0) else { continue };
                    let name = match (line.name, line.name_raw) {
                        (_, Some(raw)) => STANDARD.decode(raw).map_err(|error| bad(error.to_string()))?,
                        (Some(name), None) => name.into_bytes(),
                        (None, None) => return Err(bad("a file without a name".to_owned())),
                    };
                    let crc64 = line.payload.map(checksum).transpose().map_err(bad)?;
                    let file = Kept { name, size, crc64 };
                    if self.sparse {
                        return Err(StorageError::Sparse(file.display_name()).into());
                    }
                    return Ok(Some(Part::File(file)));
                }
                2 => {
                    self.raw.clear();
                    if self.raw.capacity() > BUFFER_KEPT {
                        self.raw.shrink_to(BUFFER_KEPT);
                    }
                    let payload = line.payload.unwrap_or_default();
                    STANDARD.decode_vec(payload, &mut self.raw).map_err(|error| bad(error.to_string()))?;
                    self.sparse = self.raw.windows(SPARSE.len()).any(|window| window == SPARSE);
                    if !self.raw.is_empty() {
                        return Ok(Some(Part::Raw(&self.raw)));
                    }
                }
                other => return Err(bad(format!("unknown type {other}"))),
            }
        }
    }

    /// Reads a line that is not empty; false at the end.
    fn read_line(&mut self) -> io::Result<bool> {
        loop {
            self.line.clear();
            if self.line.capacity() > BUFFER_KEPT {
                self.line.shrink_to(BUFFER_KEPT);
            }
            let mut lines = (&mut self.lines).take(LINE_MAX as u64 + 1);
            if lines.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(false);
            }
            self.number += 1;
            if self.line.len() > LINE_MAX {
                let reason = format!("longer than {LINE_MAX} bytes");
                return Err(StorageError::TarSplit { line: self.number, reason }.into());
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }
}

fn checksum(payload: &str) -> Result<u64, String> {
    let mut bytes = [0; 8];
    match STANDARD.decode_slice(payload, &mut bytes) {
        Ok(8) => Ok(u64::from_be_bytes(bytes)),
        _ => Err("a checksum that has not 8 bytes".to_owned()),
    }
}

/// Adds up what the parts give, in bytes; no file is opened.
///
/// # Errors
/// As [`Parts::next_part`].
pub fn length<R: BufRead>(mut parts: Parts<R>) -> io::Result<u64> {
    let mut length: u64 = 0;
    while let Some(part) = parts.next_part()? {
        let more = match part {
            Part::Raw(bytes) => bytes.len() as u64,
            Part::File(file) => file.size,
        };
        length = length.checked_add(more).ok_or(io::ErrorKind::FileTooLarge)?;
    }
    Ok(length)
}

/// Where the contents of files are.
pub trait Files {
    /// Opens the file that the tar calls `name`; its contents should have `size` bytes, and stand `offset` bytes from
    /// the tar's beginning.
    ///
    /// # Errors
    /// [`StorageError`] for what is not there, or is not such a file.
    fn open(&self, name: &[u8], size: u64, offset: u64) -> Result<Box<dyn Read + Send>, StorageError>;

    /// Says why contents may be other ones than were stored, if there is more to say.
    fn explain(&self, _name: &[u8]) -> Option<StorageError> {
        None
    }
}

/// The tar, as a reader.
pub struct Reassembler<R, F> {
    parts: Parts<R>,
    files: F,
    current: Current,
    /// How many bytes came out.
    offset: u64,
}

enum Current {
    /// Bytes of the parts' buffer, of which so many are used.
    Raw(usize),
    File(Open),
    End,
    /// Something could not be read, and what comes behind would not be the tar.
    Failed,
}

struct Open {
    kept: Kept,
    contents: Box<dyn Read + Send>,
    left: u64,
    crc: Crc64,
}

impl<R: BufRead, F: Files> Reassembler<R, F> {
    /// Puts a tar together from its parts and the files.
    pub const fn new(parts: Parts<R>, files: F) -> Self {
        Self { parts, files, current: Current::Raw(0), offset: 0 }
    }

    /// Begins the next part, which stands at `offset`.
    fn advance(&mut self, offset: u64) -> io::Result<()> {
        self.current = match self.parts.next_part()? {
            None => Current::End,
            Some(Part::Raw(_)) => Current::Raw(0),
            Some(Part::File(kept)) => {
                let contents = self.files.open(&kept.name, kept.size, offset)?;
                Current::File(Open { left: kept.size, crc: Crc64::new(), contents, kept })
            }
        };
        Ok(())
    }

    /// Checks a file all of whose contents were read.
    fn check(&self, open: &Open) -> io::Result<()> {
        if open.kept.crc64.is_none_or(|expected| expected == open.crc.finish()) {
            return Ok(());
        }
        let fault = self.files.explain(&open.kept.name);
        Err(fault.unwrap_or_else(|| StorageError::Changed(open.kept.display_name())).into())
    }
}

impl<R: BufRead, F: Files> Read for Reassembler<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = if buffer.is_empty() { Ok(0) } else { self.read_some(buffer) };
        match &result {
            Ok(got) => self.offset = self.offset.saturating_add(*got as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.current = Current::Failed,
        }
        result
    }
}

impl<R: BufRead, F: Files> Reassembler<R, F> {
    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.current {
                Current::End => return Ok(0),
                Current::Failed => return Err(io::Error::other("the rest of the layer is not read")),
                Current::Raw(used) => {
                    let rest = self.parts.raw.get(*used..).unwrap_or_default();
                    let count = rest.len().min(buffer.len());
                    if count > 0 {
                        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
                            to.copy_from_slice(from);
                        }
                        *used += count;
                        return Ok(count);
                    }
                    // Used up, so that headers of the next file are looked at with no others.
                    self.advance(self.offset)?;
                }
                Current::File(open) => {
                    let most = usize::try_from(open.left).unwrap_or(usize::MAX).min(buffer.len());
                    let Some(to) = buffer.get_mut(..most) else { return Ok(0) };
                    let got = open.contents.read(to).map_err(|source| match source.kind() {
                        io::ErrorKind::Interrupted => source,
                        _ => StorageError::File { path: open.kept.display_name(), source }.into(),
                    })?;
                    if got == 0 {
                        let (expected, actual) = (open.kept.size, open.kept.size - open.left);
                        return Err(
                            StorageError::Size { path: open.kept.display_name(), expected, actual }.into()
                        );
                    }
                    open.left -= got as u64;
                    open.crc.update(to.get(..got).unwrap_or_default());
                    if open.left == 0
                        && let Current::File(open) = std::mem::replace(&mut self.current, Current::End)
                    {
                        self.check(&open)?;
                        // Closed before its last bytes are seen: whoever took it has it alone then.
                        drop(open);
                        self.advance(self.offset.saturating_add(got as u64))?;
                    }
                    return Ok(got);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
