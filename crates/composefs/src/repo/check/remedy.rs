//! What mends a fault: a command, and what it does.

use std::{fmt, path::Path};

/// What mends a fault. `Display` says what it does: a predicate to the command, or a sentence of its own where there is
/// no command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Remedy {
    /// Repair: store what is damaged or missing anew, from a source or from what is here; enable fs-verity.
    Repair,
    /// Repair, after reading all objects: one that rotted with fs-verity is known by nothing else.
    RepairDeep,
    /// Collect garbage: names that lead nowhere and what was left over go.
    CollectGarbage,
    /// Remove what is none of a repository's: nothing can use it.
    Remove {
        /// Its path below the repository.
        path: String,
    },
    /// Write `meta.json` anew.
    RewriteMetadata,
    /// Look at the file system: reading fails. No command can do that.
    CheckFileSystem,
}

impl Remedy {
    /// Returns the command: program and arguments. `cfsctl` is how the program is called for this repository, its
    /// global options included; `repository` is where that is.
    #[must_use]
    pub fn command(&self, cfsctl: &[String], repository: &Path) -> Option<Vec<String>> {
        let verb: &[&str] = match self {
            Self::Repair => &["repair"],
            Self::RepairDeep => &["repair", "--deep"],
            Self::CollectGarbage => &["gc"],
            Self::RewriteMetadata => &["init", "--reset-metadata"],
            Self::CheckFileSystem => return None,
            Self::Remove { path } => {
                let path = repository.join(path).to_string_lossy().into_owned();
                return Some([&["rm", "-r", "--"].map(str::to_owned)[..], &[path]].concat());
            }
        };
        Some(cfsctl.iter().cloned().chain(verb.iter().map(|&word| word.to_owned())).collect())
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repair => {
                "stores what is damaged or missing anew, from where the image came from or from what is here"
            }
            Self::RepairDeep => "stores anew what cannot be read; where that does not last, it is the disk",
            Self::CollectGarbage => "removes names that lead nowhere, and what was left over",
            Self::Remove { .. } => "removes what nothing here can use",
            Self::RewriteMetadata => "keeps the objects and drops all names; restore meta.json if you can",
            Self::CheckFileSystem => "check the file system and the disk: reading fails",
        })
    }
}
