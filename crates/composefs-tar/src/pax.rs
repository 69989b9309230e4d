//! PAX extended headers: records in, in any split, the values that count kept, everything else passed over.
//!
//! # Format
//! `docs/formats/tree.md` section 4, "PAX records".
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use thiserror::Error;

use crate::header::{NumberError, decimal};
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
    fn new(sparse_segments: usize) -> Self {
        Self {
            path: None,
            link_path: None,
            size: None,
            uid: None,
            gid: None,
            mtime: None,
            xattrs: BTreeMap::new(),
            nameless_xattr: false,
            sparse_name: None,
            sparse_major: None,
            sparse_minor: None,
            sparse_size: None,
            sparse_map: None,
            sparse_pairs: SegmentList::new(sparse_segments),
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
            Key::Xattr(name) => drop(self.xattrs.insert(name, value)),
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
            _ => key.strip_prefix(b"SCHILY.xattr.").map_or(Self::Ignored, |name| Self::Xattr(name.to_vec())),
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
    key_text: Vec<u8>,
    key: Key,
    value: Vec<u8>,
    pax: Pax,
}

const BETWEEN: State = State::Length { value: 0, digits: 0 };

impl Records {
    pub(crate) fn new(sparse_segments: usize) -> Self {
        Self {
            state: BETWEEN,
            left: 0,
            key_text: Vec::new(),
            key: Key::Ignored,
            value: Vec::new(),
            pax: Pax::new(sparse_segments),
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
                    if self.key != Key::Ignored {
                        self.value.extend_from_slice(piece);
                    }
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
        self.key_text.extend_from_slice(piece);
        self.left = self.left.saturating_sub(piece.len() as u64);
        if found.is_none() {
            return if self.left == 0 { Err(PaxError::NoSeparator) } else { Ok(()) };
        }
        split_front(data, 1);
        self.left = self.left.saturating_sub(1);
        if str::from_utf8(&self.key_text).is_err() {
            return Err(PaxError::Key);
        }
        self.key = Key::new(&self.key_text);
        self.state = match self.left {
            0 => return Err(PaxError::NoNewline),
            1 => State::Newline,
            _ => State::Value,
        };
        Ok(())
    }
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
mod tests {
    use super::*;
    use crate::build::pax_record;

    fn read(data: &[u8]) -> Result<Pax, PaxError> {
        let whole = || {
            let mut records = Records::new(10);
            records.push(data)?;
            records.finish()
        };
        let split = || {
            let mut records = Records::new(10);
            data.chunks(1).try_for_each(|byte| records.push(byte))?;
            records.finish()
        };
        let (whole, split): (Result<Pax, PaxError>, Result<Pax, PaxError>) = (whole(), split());
        assert_eq!(format!("{whole:?}"), format!("{split:?}"));
        whole
    }

    fn records(pairs: &[(&str, &[u8])]) -> Result<Pax, PaxError> {
        read(&pairs.iter().flat_map(|(key, value)| pax_record(key.as_bytes(), value)).collect::<Vec<_>>())
    }

    #[test]
    fn values_are_bytes_and_the_last_one_counts() {
        let pax = records(&[
            ("path", b"a"),
            ("path", b"b=\n\0\xff"),
            ("linkpath", b""),
            ("uid", b"x"),
            ("uid", b"4294967295"),
            ("gid", b"4294967296"),
            ("size", b"100"),
            ("SCHILY.xattr.user.k", b"a=b\nc"),
            ("SCHILY.xattr.user.k=v", b""),
            ("LIBARCHIVE.xattr.user.b64", b"YmFy"),
            ("comment", b"ignored"),
            ("atime", b"garbage"),
        ]);
        let pax = pax.unwrap();
        assert_eq!(pax.path.unwrap(), b"b=\n\0\xff");
        assert_eq!(pax.link_path.unwrap(), b"");
        assert_eq!((pax.uid, pax.gid), (Some(Ok(u32::MAX)), Some(Err(NumberError::TooLarge))));
        assert_eq!(pax.size, Some(100));
        // The first `=` separates, whoever wrote the record meant what.
        assert_eq!(pax.xattrs.into_iter().collect::<Vec<_>>(), [(b"user.k".to_vec(), b"v=".to_vec())]);
        assert!(!pax.nameless_xattr);
        assert!(records(&[("SCHILY.xattr.", b"v")]).unwrap().nameless_xattr);
        assert!(read(b"").is_ok());
        assert!(read(b"5 a=\n0008 b=\n").is_ok());
    }

    #[test]
    fn refuses_malformed_records() {
        for (data, error) in [
            (&b"x a=b\n"[..], PaxError::Length),
            (b" 6 a=b\n", PaxError::Length),
            (b"+6 a=b\n", PaxError::Length),
            (b"6\ta=b\n", PaxError::Length),
            (b"2 \n", PaxError::Length),
            (b"0 a=b\n", PaxError::Length),
            (b"99999999999999999999 a=b\n", PaxError::Length),
            (b"6 a=b\n\0\0", PaxError::Length),
            (b"7 abcd\n", PaxError::NoSeparator),
            (b"3 \n5 a=\n", PaxError::NoSeparator),
            (b"6 a=bc6 a=b\n", PaxError::NoNewline),
            (b"4 a=\n", PaxError::NoNewline),
            (b"7 a=b\n", PaxError::Cut),
            (b"6 a=b", PaxError::Cut),
            (b"6", PaxError::Cut),
            (b"6 ", PaxError::Cut),
            (b"7 \xff=b\n", PaxError::Key),
            (b"7 size=1\n", PaxError::NoNewline),
            (b"9 size=x\n", PaxError::Size { source: NumberError::Malformed }),
            (b"8 size=\n", PaxError::Size { source: NumberError::Malformed }),
        ] {
            assert_eq!(read(data).err(), Some(error), "{}", data.escape_ascii());
        }
    }

    #[test]
    fn mtime_is_the_real_number() {
        for (text, seconds, nanos) in [
            ("0", 0, 0),
            ("1700000000", 1_700_000_000, 0),
            ("1700000000.5", 1_700_000_000, 500_000_000),
            ("1700000000.123456789999", 1_700_000_000, 123_456_789),
            ("1.", 1, 0),
            ("-1", -1, 0),
            ("-1.5", -2, 500_000_000),
            ("-0.5", -1, 500_000_000),
            ("-1.0000000001", -1, 0),
            ("-9223372036854775808", i64::MIN, 0),
            ("9223372036854775807.999999999", i64::MAX, 999_999_999),
        ] {
            assert_eq!(mtime(text.as_bytes()), Ok(Mtime { seconds, nanos }), "{text}");
        }
        for text in ["", ".5", "-", "-.5", "+1", "1.x", "1.5.5", " 1", "1e3", "--1"] {
            assert_eq!(mtime(text.as_bytes()), Err(NumberError::Malformed), "{text}");
        }
        for text in ["9223372036854775808", "-9223372036854775808.5", "99999999999999999999"] {
            assert_eq!(mtime(text.as_bytes()), Err(NumberError::TooLarge), "{text}");
        }
    }

    #[test]
    fn sparse_forms_are_told_apart() {
        assert!(
            records(&[("GNU.sparse.size", b"9"), ("GNU.sparse.name", b"n")])
                .unwrap()
                .take_sparse(9)
                .is_none()
        );
        let mut pairs = records(&[
            ("GNU.sparse.size", b"100"),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.offset", b"0"),
            ("GNU.sparse.numbytes", b"5"),
            ("GNU.sparse.offset", b"50"),
            ("GNU.sparse.numbytes", b"5"),
        ])
        .unwrap();
        let Some((SparseForm::Listed(list), Some(100))) = pairs.take_sparse(9) else { panic!() };
        assert_eq!(list.finish(100, 10).unwrap().segments().len(), 2);
        let mut map = records(&[("GNU.sparse.size", b"100"), ("GNU.sparse.map", b"0,5,50,5")]).unwrap();
        let Some((SparseForm::Listed(list), Some(100))) = map.take_sparse(9) else { panic!() };
        assert_eq!(list.finish(100, 10).unwrap().segments().len(), 2);
        let mut lines = records(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")]).unwrap();
        assert!(matches!(lines.take_sparse(9), Some((SparseForm::Lines, None))));
        let mut odd = records(&[("GNU.sparse.major", b"2")]).unwrap();
        let Some((SparseForm::Listed(list), None)) = odd.take_sparse(9) else { panic!() };
        assert_eq!(list.fault(), Some(SparseError::Version { major: 2, minor: 0 }));
        for bad in [
            &[("GNU.sparse.numbytes", &b"5"[..])][..],
            &[("GNU.sparse.offset", b"5")],
            &[("GNU.sparse.offset", b"5"), ("GNU.sparse.offset", b"5")],
            &[("GNU.sparse.offset", b"x"), ("GNU.sparse.numbytes", b"5")],
        ] {
            let Some((SparseForm::Listed(list), _)) = records(bad).unwrap().take_sparse(9) else { panic!() };
            assert_eq!(list.fault(), Some(SparseError::Malformed));
        }
    }
}
