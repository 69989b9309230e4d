//! Why a dumpfile is refused.

use std::fmt;

use crate::{
    digest::ObjectIdError,
    filetree::{NameError, TreeError},
};

/// A dumpfile is refused: the line, counted from 1, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    /// The line, from 1; the last one where something is missing at the end.
    pub line: usize,
    /// Why.
    pub reason: Reason,
}

/// A field of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the fields'")]
pub enum Field {
    Path,
    Size,
    Mode,
    Nlink,
    Uid,
    Gid,
    Rdev,
    Mtime,
    Payload,
    Content,
    Digest,
    XattrName,
    XattrValue,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "path",
            Self::Size => "size",
            Self::Mode => "mode",
            Self::Nlink => "nlink",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Rdev => "rdev",
            Self::Mtime => "mtime",
            Self::Payload => "payload",
            Self::Content => "content",
            Self::Digest => "digest",
            Self::XattrName => "xattr name",
            Self::XattrValue => "xattr value",
        })
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing but empty lines.
    #[error("there is no root, the first line must be `/`")]
    NoRoot,
    /// The first line is not `/`.
    #[error("the first line must be `/`")]
    RootNotFirst,
    /// The root is a hard link or no directory.
    #[error("the root is no directory")]
    RootNotADirectory,
    /// A NUL byte.
    #[error("a NUL byte")]
    Nul,
    /// Fewer than eleven fields.
    #[error("the {0} is missing")]
    MissingField(Field),
    /// Two spaces in a row, or one at the beginning.
    #[error("the {0} is empty")]
    EmptyField(Field),
    /// An unknown, cut or dangling escape.
    #[error("the {0} has an invalid escape")]
    Escape(Field),
    /// No decimal number, or one that does not fit.
    #[error("the {0} is no number of the right size")]
    Number(Field),
    /// A NUL where none may be, after unescaping.
    #[error("the {0} has a NUL in it")]
    NulIn(Field),
    /// Longer than the field may be.
    #[error("the {field} has {bytes} bytes, more than {limit}")]
    TooLong {
        /// The field.
        field: Field,
        /// Its length, unescaped.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A path that does not begin with a slash.
    #[error("the {0} is not absolute")]
    NotAbsolute(Field),
    /// A component of a path is no name.
    #[error("the {0} is no clean path: {1}")]
    Component(Field, NameError),
    /// No octal number of at most 16 bits.
    #[error("the mode is not octal, or has more than 16 bits")]
    Mode,
    /// A file type that does not exist.
    #[error("the mode has no known file type")]
    FileType,
    /// A field that this kind of file cannot have.
    #[error("the {0} must be `-` for this type of file")]
    Unexpected(Field),
    /// A symlink or hard link that leads nowhere.
    #[error("a link needs a target")]
    NoTarget,
    /// The size is not the length of the content.
    #[error("the content has {content} bytes, the size is {size}")]
    ContentSize {
        /// The field.
        size: u64,
        /// The length.
        content: usize,
    },
    /// No digest of the algorithm in use.
    #[error("the digest is invalid: {0}")]
    Digest(ObjectIdError),
    /// A payload other than the object path of the digest.
    #[error("the payload is not the object path of the digest")]
    PayloadNotOfDigest,
    /// An extended attribute without `=`.
    #[error("an xattr needs a `=`")]
    NoEquals,
    /// An extended attribute without a name.
    #[error("an xattr name is empty")]
    EmptyXattrName,
    /// Names of extended attributes too long together.
    #[error("the xattr names have {0} bytes together, more than 65535")]
    XattrNames(usize),
    /// A path occurs twice.
    #[error("{}: given twice", .0.escape_ascii())]
    Duplicate(Box<[u8]>),
    /// The directory was not listed before.
    #[error("{}: the parent directory was not given before", .0.escape_ascii())]
    NoParent(Box<[u8]>),
    /// The parent is something else.
    #[error("{}: the parent is no directory", .0.escape_ascii())]
    ParentNotADirectory(Box<[u8]>),
    /// A hard link to what does not exist.
    #[error("hard link to {}: not found", .0.escape_ascii())]
    LinkTargetMissing(Box<[u8]>),
    /// A hard link to a directory, or with a directory's mode.
    #[error("a hard link to a directory")]
    LinkToDirectory,
    /// A whiteout with several names.
    #[error("a hard link to a whiteout (character device 0:0)")]
    LinkToWhiteout,
    /// Hard links in a circle.
    #[error("hard links in a circle")]
    LinkCycle,
    /// The tree takes no more.
    #[error(transparent)]
    Tree(#[from] TreeError),
}
