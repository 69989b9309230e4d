//! What a repair does, one thing at a time.

use std::fmt;

use serde::Serialize;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// Enables fs-verity on objects where they are.
    EnableVerity,
    /// Stores a manifest, config or index.
    Document,
    /// Imports a layer or blob once more, which mends its objects and its stream.
    Layer,
    /// Builds an EROFS image from the layers.
    Image,
    /// Writes the stream of a document anew.
    Stream,
    /// Names something that is here and lost its entry.
    Entry,
    /// Removes something damaged, and names that lead nowhere, unless something needs it.
    Discard,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::EnableVerity => "enable fs-verity",
            Self::Document => "store",
            Self::Layer => "import",
            Self::Image => "build",
            Self::Stream => "rewrite",
            Self::Entry => "name",
            Self::Discard => "discard",
        })
    }
}

/// One thing that a repair does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairStep {
    /// What is done.
    pub action: Action,
    /// To what: a digest with its kind, a path below the repository.
    pub subject: String,
    /// The images it is part of, by the names that people have for them.
    pub images: Vec<String>,
    /// How many objects are known to be mended by it.
    pub objects: usize,
    /// Where its contents come from; nothing if they are here.
    pub from: Option<String>,
    /// How many bytes come from there.
    pub bytes: u64,
}

impl fmt::Display for RepairStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.subject)?;
        if !self.images.is_empty() {
            write!(f, " of {}", self.images.join(", "))?;
        }
        match self.objects {
            0 => {}
            1 => f.write_str(": 1 object")?,
            objects => write!(f, ": {objects} objects")?,
        }
        match &self.from {
            Some(from) if self.bytes > 0 => write!(f, ", {} bytes from {from}", self.bytes),
            Some(from) => write!(f, ", from {from}"),
            None => Ok(()),
        }
    }
}
