//! An OCI layout directory as a destination: blobs first, `index.json` last.
//!
//! # Format
//! OCI image-spec, image layout.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use composefs::disk::folder::Folder;
use oci_spec::image::Descriptor;
use serde_json::{Value, json};

use crate::{
    digest::Digest,
    error::Error,
    model::{
        MANIFEST_MAX, ModelError,
        edit::{IndexEdit, entry},
    },
    reference::{InLayout, Reference, Select},
    transport::{
        Root, digest_of,
        select::REF_NAME,
        sink::{OpenBlob, Sink, is_document, put_blob, put_document},
    },
};

use super::check_version;

/// The file that says what the directory is.
pub(in crate::transport) const MARKER: &str = "oci-layout";
/// What is in it.
pub(in crate::transport) const MARKER_TEXT: &str = "{\"imageLayoutVersion\":\"1.0.0\"}";
/// The file that names images.
pub(in crate::transport) const INDEX: &str = "index.json";
/// Where blobs are.
const BLOBS: &str = "blobs";

/// An OCI layout directory that an image is put into.
#[derive(Debug)]
pub struct LayoutSink {
    folder: Folder,
    tag: Option<String>,
    /// What comes with the image and is about it; it has no name but must be found.
    artifacts: Mutex<Vec<Descriptor>>,
}

impl LayoutSink {
    /// Opens a layout, or makes one of a directory that is missing or empty.
    ///
    /// # Errors
    /// [`Error::NotALayout`] for a directory of other things; [`Error::Repository`] with the path.
    pub fn create(path: &Path, tag: Option<String>) -> Result<Self, Error> {
        let folder = Folder::make(path)?;
        match folder.read(MARKER, 4096)? {
            Some(marker) => check_version(&marker, path)?,
            None => {
                // Where a copy was stopped there are blobs and nothing else yet.
                let foreign = folder.names()?.into_iter().find(|name| name != BLOBS && name != INDEX);
                if let Some(name) = foreign {
                    let reason = format!("it has no file {MARKER}, but {}", Path::new(&name).display());
                    return Err(Error::NotALayout { path: path.to_owned(), reason });
                }
            }
        }
        Ok(Self { folder, tag, artifacts: Mutex::default() })
    }

    /// Opens the directory of a blob.
    fn below(&self, digest: &Digest) -> Result<Folder, Error> {
        Ok(self.folder.folder(BLOBS)?.folder(digest.algorithm())?)
    }
}

impl Sink for LayoutSink {
    fn describe(&self) -> String {
        let select = self.tag.clone().map_or(Select::Any, Select::Tag);
        Reference::Layout(InLayout { path: self.folder.path().to_owned(), select }).to_string()
    }

    fn begin(&self, _root: &Root, contents: &[Descriptor]) -> Result<(), Error> {
        *self.artifacts.lock().unwrap_or_else(PoisonError::into_inner) = artifacts(contents);
        Ok(())
    }

    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        let digest = digest_of(blob)?;
        Ok(self.below(&digest)?.size(digest.encoded())? == Some(blob.size()))
    }

    fn put_blob(&self, blob: &Descriptor, open: &OpenBlob<'_>) -> Result<(), Error> {
        put_blob(&self.below(&digest_of(blob)?)?, blob, open)
    }

    fn put_manifest(&self, document: &Root) -> Result<(), Error> {
        put_document(&self.below(&document.digest)?, document.digest.encoded(), &document.bytes)
    }

    fn finish(&self, root: &Root) -> Result<(), Error> {
        self.put_manifest(root)?;
        self.folder.sync()?;
        // Somebody else may be adding an image at this moment.
        let lock = Folder::make(self.folder.path())?;
        lock.lock()?;
        let old = self.folder.read(INDEX, MANIFEST_MAX)?;
        let artifacts = self.artifacts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let index = with_artifacts(old.as_deref(), &artifacts)
            .and_then(|old| with_entry(old.as_deref(), root, self.tag.as_deref()))
            .map_err(|source| Error::model(self.folder.path().join(INDEX).display(), source))?;
        if self.folder.size(MARKER)?.is_none() {
            self.folder.put(MARKER, MARKER_TEXT.as_bytes())?;
        }
        Ok(self.folder.put(INDEX, &index)?)
    }
}

/// The manifests among what will come that are artifacts about others.
pub(in crate::transport) fn artifacts(contents: &[Descriptor]) -> Vec<Descriptor> {
    let artifacts = contents.iter().filter(|one| is_document(one) && one.artifact_type().is_some());
    artifacts.cloned().collect()
}

/// Returns an `index.json` with entries without a name for artifacts that it does not have; the old one if there are
/// none.
///
/// # Errors
/// [`ModelError`] if the old one is none, or would grow too large.
pub(in crate::transport) fn with_artifacts(
    old: Option<&[u8]>,
    artifacts: &[Descriptor],
) -> Result<Option<Vec<u8>>, ModelError> {
    if artifacts.is_empty() {
        return Ok(old.map(<[u8]>::to_vec));
    }
    let mut index = IndexEdit::of(old)?;
    let entries = index.entries()?;
    for artifact in artifacts {
        let digest = artifact.digest().as_ref();
        if entries.iter().any(|there| there.get("digest").and_then(Value::as_str) == Some(digest)) {
            continue;
        }
        let kind = artifact.artifact_type().as_ref().map(ToString::to_string);
        entries.push(json!({
            "mediaType": artifact.media_type().as_ref(),
            "digest": digest,
            "size": artifact.size(),
            "artifactType": kind,
        }));
    }
    index.into_bytes(INDEX).map(Some)
}

/// Returns an `index.json` with an entry for `root`: the tag leads to it and to nothing else, and the rest is as it was.
///
/// # Errors
/// [`ModelError`] if the old one is none, or would grow too large.
pub(in crate::transport) fn with_entry(
    old: Option<&[u8]>,
    root: &Root,
    tag: Option<&str>,
) -> Result<Vec<u8>, ModelError> {
    let mut index = IndexEdit::of(old)?;
    let mut entry = entry(&root.media_type, &root.digest, root.bytes.len());
    if let Some(tag) = tag {
        entry.insert("annotations".to_owned(), json!({ REF_NAME: tag }));
    }
    let entries = index.entries()?;
    entries.retain(|there| {
        let name = there.get("annotations").and_then(|all| all.get(REF_NAME)).and_then(Value::as_str);
        let same = there.get("digest").and_then(Value::as_str) == Some(root.digest.as_str());
        // Without a name it was there only so that it is there.
        if name.is_none() { !same } else { tag.is_none() || name != tag }
    });
    entries.push(Value::Object(entry));
    index.into_bytes(INDEX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::media_type;

    fn root(text: &str) -> Root {
        let bytes = text.as_bytes().to_vec();
        Root { digest: Digest::sha256(&bytes), bytes, media_type: media_type::OCI_MANIFEST.to_owned() }
    }

    fn names(index: &[u8]) -> Vec<(String, String)> {
        let index: Value = serde_json::from_slice(index).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let entries = index["manifests"].as_array().unwrap().iter();
        entries.map(|entry| (text(&entry["annotations"][REF_NAME]), text(&entry["digest"]))).collect()
    }

    #[test]
    fn entries_are_replaced_by_name_and_the_rest_is_kept() {
        let (one, two) = (root("one"), root("two"));
        let pair = |name: &str, root: &Root| (name.to_owned(), root.digest.to_string());
        let index = with_entry(None, &one, Some("a")).unwrap();
        assert_eq!(names(&index), [pair("a", &one)]);
        let index = with_entry(Some(&index), &two, Some("b")).unwrap();
        let index = with_entry(Some(&index), &two, Some("a")).unwrap();
        assert_eq!(names(&index), [pair("b", &two), pair("a", &two)]);
        assert_eq!(with_entry(Some(&index), &two, Some("a")).unwrap(), index);
        let index = with_entry(Some(&index), &one, None).unwrap();
        assert_eq!(names(&index).last(), Some(&pair("-", &one)));
        // A name takes the place of none.
        let index = with_entry(Some(&index), &one, Some("c")).unwrap();
        assert_eq!(names(&index), [pair("b", &two), pair("a", &two), pair("c", &one)]);
        let strange =
            br#"{"schemaVersion":2,"x":[1],"manifests":[{"digest":"y","z":{}}],"annotations":{"k":"v"}}"#;
        let index: Value = serde_json::from_slice(&with_entry(Some(strange), &one, None).unwrap()).unwrap();
        assert_eq!((&index["x"], &index["annotations"]["k"]), (&json!([1]), &json!("v")));
        assert_eq!(index["manifests"][0], json!({"digest": "y", "z": {}}));
    }

    #[test]
    fn what_is_no_index_is_refused() {
        for old in ["", "[]", r#"{"manifests":{}}"#] {
            assert!(with_entry(Some(old.as_bytes()), &root("x"), None).is_err(), "{old}");
        }
    }
}
