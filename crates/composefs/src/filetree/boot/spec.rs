//! One line of a file of contexts: expression, perhaps a file type, label.

use super::SpecFault;
use crate::filetree::InodeKind;

/// The longest expression. Compiled it takes some hundred times as much, and a path has no more bytes.
const REGEX_MAX: usize = 4096;
/// The longest label, which every file that matches gets a copy of; that of the kernel's own interface.
const LABEL_MAX: usize = 4096;

/// What a line says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec<'l> {
    pub(super) regex: &'l str,
    /// The letter of the only file type that is meant.
    pub(super) kind: Option<u8>,
    /// `None` for `<<none>>`.
    pub(super) label: Option<&'l str>,
}

/// Returns the letter that stands for the type of an inode.
pub(super) const fn letter(kind: &InodeKind) -> u8 {
    match kind {
        InodeKind::Directory(_) => b'd',
        InodeKind::Regular(_) => b'-',
        InodeKind::Symlink(_) => b'l',
        InodeKind::CharDevice(_) => b'c',
        InodeKind::BlockDevice(_) => b'b',
        InodeKind::Fifo => b'p',
        InodeKind::Socket => b's',
    }
}

pub(super) fn parse(line: &str) -> Result<Spec<'_>, SpecFault> {
    let mut fields = line.split_whitespace();
    let mut field = || fields.next().ok_or(SpecFault::Missing);
    let regex = field()?;
    let mut label = field()?;
    let mut kind = None;
    if let Some(code) = label.strip_prefix('-') {
        kind = match code.as_bytes() {
            [letter @ (b'-' | b'd' | b'l' | b'c' | b'b' | b'p' | b's')] => Some(*letter),
            _ => return Err(SpecFault::FileType(label.to_owned())),
        };
        label = field()?;
    }
    if fields.next().is_some() {
        return Err(SpecFault::Trailing);
    }
    if regex.len() > REGEX_MAX {
        return Err(SpecFault::LongRegex(regex.len()));
    }
    if label.len() > LABEL_MAX {
        return Err(SpecFault::LongLabel(label.len()));
    }
    Ok(Spec { regex, kind, label: (label != "<<none>>").then_some(label) })
}
