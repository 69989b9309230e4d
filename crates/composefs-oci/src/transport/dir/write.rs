//! A directory of one image as a destination: `manifest.json` last.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Mutex, PoisonError},
};

use composefs::disk::folder::Folder;
use oci_spec::image::Descriptor;

use crate::{
    error::Error,
    reference::Reference,
    transport::{
        Root, digest_of,
        sink::{OpenBlob, Sink, is_document, put_blob, put_document},
    },
};

use super::{MANIFEST, VERSION, VERSION_TEXT, child_name};

/// The version that is written.
const VERSION_NUMBER: &str = "1.1\n";

/// A directory that becomes one image.
#[derive(Debug)]
pub struct DirSink {
    folder: Folder,
    /// The names of the image's files.
    names: Mutex<BTreeSet<String>>,
}

impl DirSink {
    /// Opens a directory that is missing, empty, or an image that shall be replaced.
    ///
    /// # Errors
    /// [`Error::WrongForm`] for a directory of other things; [`Error::Repository`] with the path.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let folder = Folder::make(path)?;
        let foreign = folder.names()?.into_iter().find(|name| !name.to_str().is_some_and(is_ours));
        if let Some(name) = foreign {
            let reason = format!("it has {}", Path::new(&name).display());
            return Err(Error::WrongForm { path: path.to_owned(), form: "image directory", reason });
        }
        Ok(Self { folder, names: Mutex::new(BTreeSet::new()) })
    }
}

/// Tells whether a file of this name belongs to such a directory.
fn is_ours(name: &str) -> bool {
    let hex =
        |text: &str| text.len() >= 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    name == MANIFEST
        || name == VERSION
        || hex(name)
        || name.strip_suffix(MANIFEST).and_then(|name| name.strip_suffix('.')).is_some_and(hex)
        || is_signature(name)
}

fn is_signature(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Those of an index's children have the child's digest in front.
    let name = name.split_once("signature-");
    name.is_some_and(|(before, after)| {
        number(after) && (before.is_empty() || before.ends_with('.') || before.ends_with('-'))
    })
}

impl Sink for DirSink {
    fn describe(&self) -> String {
        Reference::Dir(self.folder.path().to_owned()).to_string()
    }

    fn begin(&self, _root: &Root, contents: &[Descriptor]) -> Result<(), Error> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.extend([MANIFEST.to_owned(), VERSION.to_owned()]);
        for descriptor in contents {
            let digest = digest_of(descriptor)?;
            names.insert(if is_document(descriptor) {
                child_name(&digest)
            } else {
                digest.encoded().to_owned()
            });
        }
        Ok(())
    }

    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        Ok(self.folder.size(digest_of(blob)?.encoded())? == Some(blob.size()))
    }

    fn put_blob(&self, blob: &Descriptor, open: &OpenBlob<'_>) -> Result<(), Error> {
        put_blob(&self.folder, blob, open)
    }

    fn put_manifest(&self, document: &Root) -> Result<(), Error> {
        put_document(&self.folder, &child_name(&document.digest), &document.bytes)
    }

    fn finish(&self, root: &Root) -> Result<(), Error> {
        put_document(&self.folder, VERSION, format!("{VERSION_TEXT}{VERSION_NUMBER}").as_bytes())?;
        self.folder.sync()?;
        self.folder.put(MANIFEST, &root.bytes)?;
        // What the image before had, and its signatures, which are not about this one.
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for name in self.folder.names()? {
            if let Some(name) = name.to_str().filter(|name| is_ours(name) && !names.contains(*name)) {
                self.folder.remove(name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_such_a_directory() {
        let hex = "0".repeat(64);
        for name in ["manifest.json", "version", "signature-1", &hex, &format!("{hex}.manifest.json")] {
            assert!(is_ours(name), "{name}");
        }
        for name in ["notes", "signature-", "signature-x", "x.manifest.json", "0123", ""] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
