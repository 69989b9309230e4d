//! Where the tables lie in a blob: by the layer's annotations, or by its last bytes.

use std::{
    collections::HashMap,
    io::{self, BufRead, Read},
    ops::Range,
};

use super::{TABLE_MAX, TocError};
use crate::{decompress::zstd::Frames, digest::Digest};

/// The most bytes of a blob's end that tell where the tables are.
pub const FOOTER_MAX: usize = HEADER + 64;
/// The most bytes the tar-split may have once it is unpacked.
pub const TAR_SPLIT_MAX: u64 = 1 << 30;

/// How the annotations' keys begin, today's first.
const PREFIXES: [&str; 2] = ["io.github.containers.zstd-chunked.", "io.containers.zstd-chunked."];
/// The end of every footer.
const MAGIC: &[u8; 8] = b"GnUlInUx";
/// What stands before the payload of a skippable frame.
const HEADER: usize = 8;
/// The only type of table there is.
const KIND: u64 = 1;
/// How tables are called in errors.
const TABLE: &str = "the table";
const TAR_SPLIT: &str = "the tar-split";
/// An annotation's value is shown up to here.
const SHOWN: usize = 128;

/// A compressed part of the blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    what: &'static str,
    /// Where it begins.
    pub offset: u64,
    /// Its length as it lies there.
    pub length: u64,
    /// Its length once it is unpacked.
    pub unpacked: u64,
    /// The digest of the compressed bytes; none by the footer.
    pub checksum: Option<Digest>,
}

/// Where the tables of a layer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The entries.
    pub table: Span,
    /// What the tar has besides files' contents; none in blobs of early tools.
    pub tar_split: Option<Span>,
}

impl Tables {
    /// Reads a layer's annotations. `None` if they name no table; `blob` is the blob's length.
    ///
    /// # Errors
    /// [`TocError::Annotation`], [`TocError::Kind`], [`TocError::Outside`], [`TocError::TooLarge`].
    pub fn from_annotations(
        annotations: &HashMap<String, String>,
        blob: u64,
    ) -> Result<Option<Self>, TocError> {
        let get = |name: &str| {
            PREFIXES.iter().find_map(|prefix| annotations.get_key_value(&format!("{prefix}{name}")))
        };
        let checksum = |name| {
            get(name).map(|(key, value)| value.parse().map_err(|_| annotation(key, value))).transpose()
        };
        let Some((key, value)) = get("manifest-position") else { return Ok(None) };
        let [offset, length, unpacked, kind] = numbers(key, value)?;
        if kind != KIND {
            return Err(TocError::Kind(kind));
        }
        let checksum_of_table = checksum("manifest-checksum")?;
        let table = Span::new(TABLE, [offset, length, unpacked], blob, checksum_of_table)?;
        let tar_split = match get("tarsplit-position") {
            None => None,
            Some((key, value)) => {
                Some(Span::new(TAR_SPLIT, numbers(key, value)?, blob, checksum("tarsplit-checksum")?)?)
            }
        };
        Ok(Some(Self { table, tar_split }))
    }

    /// Reads the end of a blob: at least [`FOOTER_MAX`] of its last bytes, or all. `None` if it ends in no footer.
    ///
    /// Nothing vouches for a footer: what it leads to has no checksum.
    ///
    /// # Errors
    /// [`TocError::Kind`], [`TocError::Outside`], [`TocError::TooLarge`].
    pub fn from_footer(end: &[u8], blob: u64) -> Result<Option<Self>, TocError> {
        // Of today's footer the last bytes are no footer of old, since its frame begins elsewhere.
        let Some(numbers) =
            footer::<7>(end).map(|all| all.to_vec()).or_else(|| footer::<4>(end).map(|all| all.to_vec()))
        else {
            return Ok(None);
        };
        let [offset, length, unpacked, kind, rest @ ..] = numbers.as_slice() else { return Ok(None) };
        if *kind != KIND {
            return Err(TocError::Kind(*kind));
        }
        let table = Span::new(TABLE, [*offset, *length, *unpacked], blob, None)?;
        let tar_split = match rest {
            [offset, length, unpacked] if *length > 0 => {
                Some(Span::new(TAR_SPLIT, [*offset, *length, *unpacked], blob, None)?)
            }
            _ => None,
        };
        Ok(Some(Self { table, tar_split }))
    }

    /// Returns where the blob's files end at the latest: before the frame of the first table.
    #[must_use]
    pub fn data_end(&self) -> u64 {
        let first = self.tar_split.iter().map(|span| span.offset).fold(self.table.offset, u64::min);
        first.saturating_sub(HEADER as u64)
    }
}

fn annotation(key: &str, value: &str) -> TocError {
    TocError::Annotation { key: key.to_owned(), value: value.chars().take(SHOWN).collect() }
}

/// Reads so many decimal numbers between colons.
fn numbers<const N: usize>(key: &str, value: &str) -> Result<[u64; N], TocError> {
    let mut all = [0; N];
    let mut parts = value.split(':');
    for number in &mut all {
        let part = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        *number = part.and_then(|part| part.parse().ok()).ok_or_else(|| annotation(key, value))?;
    }
    if parts.next().is_some() {
        return Err(annotation(key, value));
    }
    Ok(all)
}

/// Reads a footer of so many numbers: a skippable frame with them and the magic.
fn footer<const N: usize>(end: &[u8]) -> Option<[u64; N]> {
    let payload = N.checked_mul(8)?.checked_add(MAGIC.len())?;
    let frame = end.get(end.len().checked_sub(payload.checked_add(HEADER)?)?..)?;
    let (header, payload) = frame.split_at_checked(HEADER)?;
    let [0x50..=0x5f, 0x2a, 0x4d, 0x18, length @ ..] = header else { return None };
    if u32::from_le_bytes(length.try_into().ok()?) as usize != payload.len() {
        return None;
    }
    let (bytes, magic) = payload.split_last_chunk::<8>()?;
    if magic != MAGIC {
        return None;
    }
    let mut numbers = [0; N];
    for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *number = u64::from_le_bytes(*bytes);
    }
    Some(numbers)
}

impl Span {
    fn new(
        what: &'static str,
        [offset, length, unpacked]: [u64; 3],
        blob: u64,
        checksum: Option<Digest>,
    ) -> Result<Self, TocError> {
        let max = if what == TABLE { TABLE_MAX } else { TAR_SPLIT_MAX };
        if unpacked.max(length) > max {
            return Err(TocError::TooLarge { what, bytes: unpacked.max(length), max });
        }
        if offset.checked_add(length).is_none_or(|end| end > blob) {
            return Err(TocError::Outside { what, offset, length, blob });
        }
        Ok(Self { what, offset, length, unpacked, checksum })
    }

    /// Returns the bytes of the blob that are to be fetched for it.
    #[must_use]
    pub const fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.length)
    }

    /// Unpacks it as it is read. `packed` are the bytes at [`Span::range`].
    ///
    /// The reader fails where there are more or fewer bytes than was said.
    ///
    /// # Errors
    /// [`TocError::Checksum`], [`TocError::Algorithm`], [`TocError::Length`], [`TocError::Unpack`].
    pub fn open<'a>(&self, packed: &'a [u8]) -> Result<impl BufRead + use<'a>, TocError> {
        if packed.len() as u64 != self.length {
            return Err(TocError::Length { what: self.what, expected: self.length });
        }
        if let Some(expected) = &self.checksum {
            let actual =
                expected.of_same_algorithm(packed).ok_or_else(|| TocError::Algorithm(expected.clone()))?;
            if actual != *expected {
                return Err(TocError::Checksum { what: self.what, expected: expected.clone(), actual });
            }
        }
        let frames = Frames::new(packed).map_err(self.unpack_error())?;
        Ok(io::BufReader::new(Exactly { inner: frames, left: self.unpacked }))
    }

    /// Unpacks it whole. `packed` are the bytes at [`Span::range`].
    ///
    /// # Errors
    /// As [`Span::open`].
    pub fn unpack(&self, packed: &[u8]) -> Result<Vec<u8>, TocError> {
        let mut bytes = Vec::new();
        self.open(packed)?.read_to_end(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => TocError::Length { what: self.what, expected: self.unpacked },
            _ => TocError::Unpack { what: self.what, source: error },
        })?;
        Ok(bytes)
    }

    fn unpack_error(&self) -> impl Fn(io::Error) -> TocError + use<> {
        let what = self.what;
        move |source| TocError::Unpack { what, source }
    }
}

/// Reads just so many bytes; more or fewer are an error.
struct Exactly<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let other =
            || io::Error::new(io::ErrorKind::FileTooLarge, "there are more or fewer bytes than was said");
        if self.left == 0 {
            return if self.inner.read(&mut [0])? == 0 { Ok(0) } else { Err(other()) };
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let (buffer, _) = buffer.split_at_mut(room);
        let read = self.inner.read(buffer)?;
        if read == 0 {
            return Err(other());
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}
