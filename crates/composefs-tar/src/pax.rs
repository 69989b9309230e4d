//! PAX extended headers: records in, in any split, the values that count kept, everything else passed over.
//!
//! # Format
//! `docs/formats/tree.md` section 4, "PAX records".
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use thiserror::Error;

use crate::header::{NumberError, decimal};
use crate::limits::Limits;
use crate::sparse::{Segment, SegmentList, SparseError, split_front};

const NANOS: i128 = 1_000_000_000;

/// A modification time: whole seconds since 1970, before it too, and nanoseconds after that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mtime {
    /// Seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds, below 10^9; only PAX records have them.
    pub nanos: u32,
}

/// Why a PAX header cannot be read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PaxError {
    /// A record that does not begin with its own length and a blank, or whose length holds no record.
    #[error("record with a bad length")]
    Length,
    /// A record without `=`.
    #[error("record without `=`")]
    NoSeparator,
    /// A record whose last byte is no newline.
    #[error("record without newline at its end")]
    NoNewline,
    /// A key that is not UTF-8.
    #[error("key is not UTF-8")]
    Key,
    /// A record that is longer than the header's data.
    #[error("last record is cut short")]
    Cut,
    /// The `size` record, without which nobody knows where the next header is.
    #[error("bad size record")]
    Size {
        /// What is wrong with it.
        source: NumberError,
    },
}

/// The records of one header, as far as they count; of a key given twice the last value.
#[derive(Debug)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link_path: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<Result<u32, NumberError>>,
    pub(crate) gid: Option<Result<u32, NumberError>>,
    pub(crate) mtime: Option<Result<Mtime, NumberError>>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// An xattr record had no name, which makes the member unusable but not the archive.
    pub(crate) nameless_xattr: bool,
    /// A name or a link's target is longer than the limit, and not all of it is kept.
    pub(crate) long_name: bool,
    /// The xattrs are larger than the limit, and none of them is kept.
    pub(crate) many_xattrs: bool,
    /// Bytes that xattrs may still take.
    xattrs_left: usize,
    pub(crate) sparse_name: Option<Vec<u8>>,
    sparse_major: Option<u64>,
    sparse_minor: Option<u64>,
    sparse_size: Option<u64>,
    sparse_map: Option<Vec<u8>>,
    sparse_pairs: SegmentList,
    sparse_offset: Option<u64>,
    has_pairs: bool,
}

/// How PAX records describe a sparse member.
#[derive(Debug)]
pub(crate) enum SparseForm {
    /// 0.0 and 0.1: in the records.
    Listed(SegmentList),
    /// 1.0: in lines in front of the data.
    Lines,
}

impl Pax {
    fn new(limits: &Limits) -> Self {
        Self {
            path: None,
            link_path: None,
            size: None,
            uid: None,
            gid: None,
            mtime: None,
            xattrs: BTreeMap::new(),
            nameless_xattr: false,
            long_name: false,
            many_xattrs: false,
            xattrs_left: limits.xattr_bytes,
            sparse_name: None,
            sparse_major: None,
            sparse_minor: None,
            sparse_size: None,
            sparse_map: None,
            sparse_pairs: SegmentList::new(limits.sparse_segments),
            sparse_offset: None,
            has_pairs: false,
        }
    }

    /// The sparse form of the member and the size of its file, if the records make it a sparse one.
    pub(crate) fn take_sparse(&mut self, segments: usize) -> Option<(SparseForm, Option<u64>)> {
        let form = match (self.sparse_major.unwrap_or(0), self.sparse_minor.unwrap_or(0)) {
            (1, 0) => SparseForm::Lines,
            (0, _) if self.sparse_map.is_some() => {
                let mut list = SegmentList::new(segments);
                list.push_text(&self.sparse_map.take().unwrap_or_default());
                SparseForm::Listed(list)
            }
            (0, _) if self.has_pairs => {
                let mut list = std::mem::replace(&mut self.sparse_pairs, SegmentList::new(0));
                if self.sparse_offset.is_some() {
                    list.fail(SparseError::Malformed);
                }
                SparseForm::Listed(list)
            }
            (0, _) => return None,
            (major, minor) => {
                let mut list = SegmentList::new(0);
                list.fail(SparseError::Version { major, minor });
                SparseForm::Listed(list)
            }
        };
        Some((form, self.sparse_size))
    }

    fn set(&mut self, key: Key, value: Vec<u8>) -> Result<(), PaxError> {
        let id =
            |value: &[u8]| decimal(value).and_then(|id| u32::try_from(id).map_err(|_| NumberError::TooLarge));
        match key {
            Key::Path => self.path = Some(value),
            Key::LinkPath => self.link_path = Some(value),
            Key::Size => self.size = Some(decimal(&value).map_err(|source| PaxError::Size { source })?),
            Key::Uid => self.uid = Some(id(&value)),
            Key::Gid => self.gid = Some(id(&value)),
            Key::Mtime => self.mtime = Some(mtime(&value)),
            Key::Xattr(name) if name.is_empty() => self.nameless_xattr = true,
            Key::Xattr(name) => match self.xattrs_left.checked_sub(xattr_cost(name.len(), value.len())) {
                Some(left) => {
                    self.xattrs_left = left;
                    self.xattrs.insert(name, value);
                }
                None => self.drop_xattrs(),
            },
            Key::SparseName => self.sparse_name = Some(value),
            // A version or size that is no number leaves a member that cannot be expanded, like an unknown one.
            Key::SparseMajor => self.sparse_major = Some(decimal(&value).unwrap_or(u64::MAX)),
            Key::SparseMinor => self.sparse_minor = Some(decimal(&value).unwrap_or(u64::MAX)),
            Key::SparseSize => self.sparse_size = decimal(&value).ok(),
            Key::SparseMap => self.sparse_map = Some(value),
            Key::SparseOffset | Key::SparseLen => self.set_pair(key == Key::SparseOffset, &value),
            Key::Ignored => {}
        }
        Ok(())
    }

    /// Gives up on xattrs: the member is no entry with so many.
    fn drop_xattrs(&mut self) {
        self.many_xattrs = true;
        self.xattrs_left = 0;
        self.xattrs.clear();
    }

    /// The pairs of format 0.0, offset first: the one key whose repetition counts.
    fn set_pair(&mut self, is_offset: bool, value: &[u8]) {
        self.has_pairs = true;
        match (is_offset, decimal(value), self.sparse_offset.take()) {
            (true, Ok(offset), None) => self.sparse_offset = Some(offset),
            (false, Ok(len), Some(offset)) => self.sparse_pairs.push(Segment { offset, len }),
            _ => self.sparse_pairs.fail(SparseError::Malformed),
        }
    }
}

/// What an xattr counts: its bytes, and what the map takes for it besides.
fn xattr_cost(name: usize, value: usize) -> usize {
    name.saturating_add(value).saturating_add(16)
}

#[derive(Debug, PartialEq, Eq)]
enum Key {
    Path,
    LinkPath,
    Size,
    Uid,
    Gid,
    Mtime,
    Xattr(Vec<u8>),
    SparseName,
    SparseMajor,
    SparseMinor,
    SparseSize,
    SparseMap,
    SparseOffset,
    SparseLen,
    Ignored,
}

/// The longest key that is looked at; longer ones are no key that counts, or the name of an xattr that nobody can set.
const KEY_MAX: usize = 64 << 10;
const XATTR: &[u8] = b"SCHILY.xattr.";

impl Key {
    fn new(key: &[u8]) -> Self {
        match key {
            b"path" => Self::Path,
            b"linkpath" => Self::LinkPath,
            b"size" => Self::Size,
            b"uid" => Self::Uid,
            b"gid" => Self::Gid,
            b"mtime" => Self::Mtime,
            b"GNU.sparse.name" => Self::SparseName,
            b"GNU.sparse.major" => Self::SparseMajor,
            b"GNU.sparse.minor" => Self::SparseMinor,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => Self::SparseSize,
            b"GNU.sparse.map" => Self::SparseMap,
            b"GNU.sparse.offset" => Self::SparseOffset,
            b"GNU.sparse.numbytes" => Self::SparseLen,
            // `LIBARCHIVE.xattr.` stays ignored: its writers emit both, and image ids depend on it.
            _ => key.strip_prefix(XATTR).map_or(Self::Ignored, |name| Self::Xattr(name.to_vec())),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Length { value: u64, digits: u8 },
    Key,
    Value,
    Newline,
}

/// The reader of one header's data. It keeps the key at hand and the values that count, not the data.
#[derive(Debug)]
pub(crate) struct Records {
    state: State,
    /// Bytes of the current record that follow.
    left: u64,
    limits: Limits,
    key_text: Vec<u8>,
    /// The key is longer than what is kept of it.
    long_key: bool,
    key: Key,
    value: Vec<u8>,
    pax: Pax,
}

const BETWEEN: State = State::Length { value: 0, digits: 0 };

impl Records {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            state: BETWEEN,
            left: 0,
            limits,
            key_text: Vec::new(),
            long_key: false,
            key: Key::Ignored,
            value: Vec::new(),
            pax: Pax::new(&limits),
        }
    }

    pub(crate) fn push(&mut self, mut data: &[u8]) -> Result<(), PaxError> {
        while let Some((&first, rest)) = data.split_first() {
            match self.state {
                State::Length { value, digits } => {
                    data = rest;
                    self.length(first, value, digits)?;
                }
                State::Key => self.key(&mut data)?,
                State::Value => {
                    let piece = split_front(&mut data, self.left.saturating_sub(1));
                    self.left = self.left.saturating_sub(piece.len() as u64);
                    self.value_piece(piece);
                    if self.left <= 1 {
                        self.state = State::Newline;
                    }
                }
                State::Newline if first == b'\n' => {
                    data = rest;
                    let key = std::mem::replace(&mut self.key, Key::Ignored);
                    self.pax.set(key, std::mem::take(&mut self.value))?;
                    self.state = BETWEEN;
                }
                State::Newline => return Err(PaxError::NoNewline),
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Pax, PaxError> {
        if self.state == BETWEEN { Ok(self.pax) } else { Err(PaxError::Cut) }
    }

    /// Keeps a piece of a value, if the value counts and there may be so much of it.
    fn value_piece(&mut self, piece: &[u8]) {
        match &self.key {
            Key::Ignored => {}
            Key::Path | Key::LinkPath | Key::SparseName => {
                self.pax.long_name |= !extend_up_to(&mut self.value, piece, self.limits.name_bytes);
            }
            Key::Xattr(name) => {
                let length = self.value.len().saturating_add(piece.len());
                if xattr_cost(name.len(), length) > self.pax.xattrs_left {
                    self.pax.drop_xattrs();
                    self.key = Key::Ignored;
                    self.value = Vec::new();
                } else {
                    self.value.extend_from_slice(piece);
                }
            }
            _ => self.value.extend_from_slice(piece),
        }
    }

    fn length(&mut self, byte: u8, value: u64, digits: u8) -> Result<(), PaxError> {
        // Nineteen digits hold every length there is and cannot overflow.
        match byte {
            b'0'..=b'9' if digits < 19 => {
                let value = value.wrapping_mul(10).wrapping_add(u64::from(byte & 15));
                self.state = State::Length { value, digits: digits.saturating_add(1) };
                Ok(())
            }
            b' ' if digits > 0 => {
                self.left = value.checked_sub(u64::from(digits).saturating_add(1)).ok_or(PaxError::Length)?;
                if self.left == 0 {
                    return Err(PaxError::Length);
                }
                self.key_text.clear();
                self.long_key = false;
                self.state = State::Key;
                Ok(())
            }
            _ => Err(PaxError::Length),
        }
    }

    fn key(&mut self, data: &mut &[u8]) -> Result<(), PaxError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
        let found = data.iter().take(most).position(|&byte| byte == b'=');
        let piece = split_front(data, found.unwrap_or(most) as u64);
        self.long_key |= !extend_up_to(&mut self.key_text, piece, KEY_MAX);
        self.left = self.left.saturating_sub(piece.len() as u64);
        if found.is_none() {
            return if self.left == 0 { Err(PaxError::NoSeparator) } else { Ok(()) };
        }
        split_front(data, 1);
        self.left = self.left.saturating_sub(1);
        if self.long_key {
            self.key = Key::Ignored;
            if self.key_text.starts_with(XATTR) {
                self.pax.drop_xattrs();
            }
        } else {
            str::from_utf8(&self.key_text).map_err(|_| PaxError::Key)?;
            self.key = Key::new(&self.key_text);
        }
        self.state = match self.left {
            0 => return Err(PaxError::NoNewline),
            1 => State::Newline,
            _ => State::Value,
        };
        Ok(())
    }
}

/// Appends what fits into `most` bytes, the same in whatever pieces it comes; tells whether that was all.
pub(crate) fn extend_up_to(to: &mut Vec<u8>, piece: &[u8], most: usize) -> bool {
    let (fits, rest) = piece.split_at(piece.len().min(most.saturating_sub(to.len())));
    to.extend_from_slice(fits);
    rest.is_empty()
}

/// Decimal seconds with an optional fraction; digits beyond the ninth are cut off.
fn mtime(text: &[u8]) -> Result<Mtime, NumberError> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&b| b == b'.');
    let whole = decimal(parts.next().unwrap_or_default())?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(NumberError::Malformed);
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanos =
        digits.fold(0_i128, |value, digit| value.saturating_mul(10).saturating_add(i128::from(digit & 15)));
    let total = i128::from(whole).saturating_mul(NANOS).saturating_add(nanos);
    let total = if negative { total.saturating_neg() } else { total };
    Ok(Mtime {
        seconds: i64::try_from(total.div_euclid(NANOS)).map_err(|_| NumberError::TooLarge)?,
        nanos: u32::try_from(total.rem_euclid(NANOS)).map_err(|_| NumberError::TooLarge)?,
    })
}

#[cfg(test)]
mod tests;
