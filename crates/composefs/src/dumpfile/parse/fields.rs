//! The fields of one line: text to metadata and kind.
//!
//! # Format
//! `docs/formats/dumpfile.md`, section 1.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    digest::{Algorithm, ObjectId},
    dumpfile::{CONTENT_MAX, PATH_MAX, escape::unescape},
    filetree::{Entries, Inode, InodeKind, Name, NameError, Regular, Stat, Xattrs},
};

use super::error::{Field, Reason};

const XATTR_NAME_MAX: usize = 255;
const XATTR_NAMES_MAX: usize = 65535;
const XATTR_VALUE_MAX: usize = 65535;

/// What a line says.
#[derive(Debug)]
pub(super) enum Meaning<'a> {
    Inode(Inode),
    /// A further name of what is at this path.
    Hardlink(Cow<'a, [u8]>),
}

/// Reads a line: its path and what is there.
pub(super) fn line(line: &[u8], algorithm: Algorithm) -> Result<(Cow<'_, [u8]>, Meaning<'_>), Reason> {
    if line.contains(&0) {
        return Err(Reason::Nul);
    }
    let mut fields = line.strip_suffix(b" ").unwrap_or(line).split(|&byte| byte == b' ');
    let mut next = |field| match fields.next() {
        None => Err(Reason::MissingField(field)),
        Some(b"") => Err(Reason::EmptyField(field)),
        Some(text) => Ok(text),
    };
    let path = unescaped(next(Field::Path)?, Field::Path)?;
    check_path(&path, Field::Path)?;
    let size = next(Field::Size)?;
    let mode = next(Field::Mode)?;
    let nlink = next(Field::Nlink)?;
    let uid = next(Field::Uid)?;
    let gid = next(Field::Gid)?;
    let rdev = next(Field::Rdev)?;
    let mtime = next(Field::Mtime)?;
    let payload = next(Field::Payload)?;
    let content = next(Field::Content)?;
    let digest = next(Field::Digest)?;

    if let Some(mode) = mode.strip_prefix(b"@") {
        return hardlink(mode, payload).map(|target| (path, Meaning::Hardlink(target)));
    }
    let (mode, file_type) = split_mode(octal(mode)?);
    let size: u64 = decimal(size, Field::Size)?;
    let _: u32 = number(nlink, Field::Nlink)?;
    let (mtime_seconds, mtime_nanos) = time(mtime)?;
    let stat = Stat {
        mode,
        uid: number(uid, Field::Uid)?,
        gid: number(gid, Field::Gid)?,
        mtime_seconds,
        mtime_nanos,
        xattrs: Xattrs::default(),
    };
    let rdev: u32 = number(rdev, Field::Rdev)?;
    let contents = Contents {
        payload: optional(payload, Field::Payload)?,
        content: optional(content, Field::Content)?,
        digest: optional(digest, Field::Digest)?,
    };
    let kind = contents.kind(file_type, size, rdev, algorithm)?;
    let stat = Stat { xattrs: xattrs(fields)?, ..stat };
    Ok((path, Meaning::Inode(Inode { stat, kind })))
}

fn hardlink<'a>(mode: &[u8], payload: &'a [u8]) -> Result<Cow<'a, [u8]>, Reason> {
    if octal(mode).is_ok_and(|mode| split_mode(mode).1 == 0o04) {
        return Err(Reason::LinkToDirectory);
    }
    let target = optional(payload, Field::Payload)?.ok_or(Reason::NoTarget)?;
    check_path(&target, Field::Payload)?;
    Ok(target)
}

/// Refuses what is no clean absolute path; `/` is one.
fn check_path(path: &[u8], field: Field) -> Result<(), Reason> {
    check_length(path.len(), field, PATH_MAX)?;
    let below = path.strip_prefix(b"/").ok_or(Reason::NotAbsolute(field))?;
    if below.is_empty() {
        return Ok(());
    }
    for component in below.split(|&byte| byte == b'/') {
        Name::check(component).map_err(|error| match error {
            // The only byte left that a name cannot have.
            NameError::Byte => Reason::NulIn(field),
            error => Reason::Component(field, error),
        })?;
    }
    Ok(())
}

const fn check_length(bytes: usize, field: Field, limit: usize) -> Result<(), Reason> {
    if bytes > limit { Err(Reason::TooLong { field, bytes, limit }) } else { Ok(()) }
}

fn unescaped(text: &[u8], field: Field) -> Result<Cow<'_, [u8]>, Reason> {
    unescape(text).ok_or(Reason::Escape(field))
}

fn optional(text: &[u8], field: Field) -> Result<Option<Cow<'_, [u8]>>, Reason> {
    if text == b"-" { Ok(None) } else { unescaped(text, field).map(Some) }
}

fn decimal(text: &[u8], field: Field) -> Result<u64, Reason> {
    let mut value = 0_u64;
    for digit in text {
        let digit = char::from(*digit).to_digit(10);
        value = digit
            .and_then(|digit| value.checked_mul(10)?.checked_add(u64::from(digit)))
            .ok_or(Reason::Number(field))?;
    }
    if text.is_empty() { Err(Reason::Number(field)) } else { Ok(value) }
}

fn number(text: &[u8], field: Field) -> Result<u32, Reason> {
    u32::try_from(decimal(text, field)?).map_err(|_| Reason::Number(field))
}

fn octal(text: &[u8]) -> Result<u16, Reason> {
    let mut value = 0_u16;
    for digit in text {
        let digit = char::from(*digit).to_digit(8).and_then(|digit| u16::try_from(digit).ok());
        value = digit.and_then(|digit| value.checked_mul(8)?.checked_add(digit)).ok_or(Reason::Mode)?;
    }
    if text.is_empty() { Err(Reason::Mode) } else { Ok(value) }
}

/// Splits `st_mode` into permissions and type.
const fn split_mode(mode: u16) -> (u16, u16) {
    (mode & 0o7777, mode >> 12)
}

fn time(text: &[u8]) -> Result<(i64, u32), Reason> {
    const ERROR: Reason = Reason::Number(Field::Mtime);
    let dot = text.iter().position(|&byte| byte == b'.').ok_or(ERROR)?;
    let (seconds, nanos) = text.split_at_checked(dot).ok_or(ERROR)?;
    let seconds = match seconds.strip_prefix(b"-") {
        // The unsigned form of a negative number is its two's complement.
        None => decimal(seconds, Field::Mtime)?.cast_signed(),
        Some(seconds) => 0_i64.checked_sub_unsigned(decimal(seconds, Field::Mtime)?).ok_or(ERROR)?,
    };
    let nanos = number(nanos.strip_prefix(b".").unwrap_or_default(), Field::Mtime)?;
    if nanos > 999_999_999 { Err(ERROR) } else { Ok((seconds, nanos)) }
}

/// The three fields that say what a file holds; `None` for `-`.
struct Contents<'a> {
    payload: Option<Cow<'a, [u8]>>,
    content: Option<Cow<'a, [u8]>>,
    digest: Option<Cow<'a, [u8]>>,
}

impl Contents<'_> {
    fn kind(self, file_type: u16, size: u64, rdev: u32, algorithm: Algorithm) -> Result<InodeKind, Reason> {
        if file_type == 0o10 {
            return self.regular(size, algorithm).map(InodeKind::Regular);
        }
        let kind = match file_type {
            0o01 => InodeKind::Fifo,
            0o02 => InodeKind::CharDevice(rdev),
            0o04 => InodeKind::Directory(Entries::new()),
            0o06 => InodeKind::BlockDevice(rdev),
            0o12 => InodeKind::Symlink(self.target()?.into()),
            0o14 => InodeKind::Socket,
            _ => return Err(Reason::FileType),
        };
        if self.payload.is_some() && !matches!(kind, InodeKind::Symlink(_)) {
            return Err(Reason::Unexpected(Field::Payload));
        }
        if self.content.is_some() {
            return Err(Reason::Unexpected(Field::Content));
        }
        if self.digest.is_some() {
            return Err(Reason::Unexpected(Field::Digest));
        }
        Ok(kind)
    }

    fn target(&self) -> Result<&[u8], Reason> {
        let target = self.payload.as_deref().filter(|target| !target.is_empty()).ok_or(Reason::NoTarget)?;
        check_payload(target)?;
        Ok(target)
    }

    fn regular(self, size: u64, algorithm: Algorithm) -> Result<Regular, Reason> {
        match self {
            Self { payload: None, content: None, digest: Some(_) } => Err(Reason::Unexpected(Field::Digest)),
            Self { payload: None, content: None, digest: None } if size == 0 => {
                Ok(Regular::Inline(Box::default()))
            }
            Self { payload: None, content: None, digest: None } => Ok(Regular::Sparse(size)),
            Self { content: Some(content), payload: None, digest: None } => {
                check_length(content.len(), Field::Content, CONTENT_MAX)?;
                if content.len() as u64 != size {
                    return Err(Reason::ContentSize { size, content: content.len() });
                }
                Ok(Regular::Inline(content.into()))
            }
            Self { content: Some(_), .. } => Err(Reason::Unexpected(Field::Content)),
            Self { payload: Some(_), .. } if size == 0 => Ok(Regular::Inline(Box::default())),
            Self { payload: Some(payload), digest: Some(digest), .. } => {
                let id = ObjectId::from_hex(algorithm, &digest).map_err(Reason::Digest)?;
                if *payload != *id.object_path().as_bytes() {
                    return Err(Reason::PayloadNotOfDigest);
                }
                Ok(Regular::External { id, size })
            }
            Self { payload: Some(payload), digest: None, .. } => {
                check_payload(&payload)?;
                match ObjectId::from_object_path(algorithm, &payload) {
                    // Upper case and a longer path would name another file.
                    Ok(id) if *payload == *id.object_path().as_bytes() => {
                        Ok(Regular::Unverified { id, size })
                    }
                    _ => Ok(Regular::Redirect { path: payload.into(), size }),
                }
            }
        }
    }
}

fn check_payload(payload: &[u8]) -> Result<(), Reason> {
    check_length(payload.len(), Field::Payload, PATH_MAX)?;
    if payload.contains(&0) { Err(Reason::NulIn(Field::Payload)) } else { Ok(()) }
}

fn xattrs<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Result<Xattrs, Reason> {
    // Sorted here, since many in a bad order would make `Xattrs::set` slow.
    let mut sorted: BTreeMap<Cow<'a, [u8]>, Cow<'a, [u8]>> = BTreeMap::new();
    for field in fields {
        if field.is_empty() {
            return Err(Reason::EmptyField(Field::XattrName));
        }
        let equals = field.iter().position(|&byte| byte == b'=').ok_or(Reason::NoEquals)?;
        let (name, value) = field.split_at_checked(equals).ok_or(Reason::NoEquals)?;
        let name = unescaped(name, Field::XattrName)?;
        let value = unescaped(value.strip_prefix(b"=").unwrap_or_default(), Field::XattrValue)?;
        if name.is_empty() {
            return Err(Reason::EmptyXattrName);
        }
        check_length(name.len(), Field::XattrName, XATTR_NAME_MAX)?;
        if name.contains(&0) {
            return Err(Reason::NulIn(Field::XattrName));
        }
        check_length(value.len(), Field::XattrValue, XATTR_VALUE_MAX)?;
        sorted.insert(name, value);
    }
    let names = sorted.keys().map(|name| name.len()).fold(0, usize::saturating_add);
    if names > XATTR_NAMES_MAX {
        return Err(Reason::XattrNames(names));
    }
    let mut xattrs = Xattrs::default();
    for (name, value) in &sorted {
        xattrs.set(name, value);
    }
    Ok(xattrs)
}
