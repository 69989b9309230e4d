//! Why a tree cannot be made bootable.

use std::io;

use crate::filetree::TreeError;

/// Why a tree cannot be made bootable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// A directory that must exist does not, or is none.
    #[error(transparent)]
    Directory(TreeError),
    /// The tree cannot be changed.
    #[error("labelling")]
    Tree(#[source] TreeError),
    /// The configuration names a policy that is not there.
    #[error("{path}: the policy has no such file")]
    NoPolicy {
        /// The missing file.
        path: String,
    },
    /// Where a policy file should be there is something else, or something else than a directory on the way.
    #[error("{path}: not a regular file")]
    NotAFile {
        /// The path.
        path: String,
    },
    /// Symlinks that lead nowhere.
    #[error("{path}: too many symlinks")]
    Loop {
        /// The path.
        path: String,
    },
    /// A policy file is larger than the limit.
    #[error("{path}: {size} bytes, more than {limit}")]
    TooLarge {
        /// The path.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The most that is read.
        limit: u64,
    },
    /// A policy file cannot be read.
    #[error("{path}")]
    Read {
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A line of a policy file is none.
    #[error("{path}, line {line}")]
    Line {
        /// The file.
        path: String,
        /// The line, from 1; 0 for the file as a whole.
        line: u64,
        /// What is wrong with it.
        source: SpecFault,
    },
    /// The policy has more specifications than the limit.
    #[error("the policy has more than {0} specifications")]
    TooMany(usize),
    /// The compiled policy would take more memory than the limit.
    #[error("the expressions of the policy take more than {0} bytes")]
    TooComplex(usize),
}

/// What is wrong with a line of a policy file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecFault {
    /// No UTF-8.
    #[error("not UTF-8")]
    Encoding,
    /// An expression, or a type, and nothing behind it.
    #[error("a field is missing")]
    Missing,
    /// More fields than there may be.
    #[error("trailing data")]
    Trailing,
    /// A type that does not exist.
    #[error("no file type: {0}")]
    FileType(String),
    /// No regular expression, or one that takes more than linear time.
    #[error("bad regular expression {regex}: {reason}")]
    Regex {
        /// The expression.
        regex: String,
        /// What the compiler says.
        reason: String,
    },
    /// A path longer than a path may be.
    #[error("a path of {0} bytes")]
    LongPath(usize),
    /// An expression longer than any policy needs.
    #[error("a regular expression of {0} bytes")]
    LongRegex(usize),
    /// A label longer than the kernel takes.
    #[error("a label of {0} bytes")]
    LongLabel(usize),
}
