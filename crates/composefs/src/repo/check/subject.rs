//! What a finding is about.

use std::fmt;

use crate::{digest::ObjectId, error::Category, repo::layout};

/// What a finding is about. `Display` is its path below the repository.
///
/// Names are as on disk; what is not text in them is replaced, as in a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Subject {
    /// `meta.json`.
    Meta,
    /// An object.
    Object(ObjectId),
    /// Something in the object store that is none of an object.
    Stray {
        /// The path below `objects/`.
        name: String,
    },
    /// An entry in `streams/` or `images/`.
    Entry {
        /// Which of them.
        category: Category,
        /// The first-level name.
        name: String,
        /// The object it leads to, if it leads to one; that need not be there.
        id: Option<ObjectId>,
    },
    /// A ref.
    Ref {
        /// Of streams or of images.
        category: Category,
        /// The path below `refs/`.
        name: String,
        /// The entry it names, if it names one; that need not be there.
        entry: Option<String>,
    },
    /// A temporary file that somebody left behind.
    Temporary {
        /// Its path below the repository.
        path: String,
    },
}

impl Subject {
    /// Returns the object that it is, or that it leads to.
    #[must_use]
    pub const fn object(&self) -> Option<&ObjectId> {
        match self {
            Self::Object(id) | Self::Entry { id: Some(id), .. } => Some(id),
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta => f.write_str(layout::META),
            Self::Object(id) => f.write_str(&layout::object_path(id)),
            Self::Stray { name } => write!(f, "{}/{name}", layout::OBJECTS),
            Self::Entry { category, name, .. } => f.write_str(&layout::entry_path(*category, name)),
            Self::Ref { category, name, .. } => f.write_str(&layout::ref_path(*category, name)),
            Self::Temporary { path } => f.write_str(path),
        }
    }
}
