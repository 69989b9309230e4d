//! A directory of one image: its manifest or index, and its blobs as files named by their hex digits.
//!
//! # Format
//! `docs/formats/transports.md`, section 1.

pub mod write;

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use composefs::disk::outside;
use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};

use crate::{
    digest::Digest,
    error::{Error, Step},
    model::{MANIFEST_MAX, media_type, platform::Platform},
    reference::{Reference, Select},
};

use super::{
    Chosen, Root, Source, artifacts, digest_of,
    layout::{open_file, read_bounded},
    select,
};

/// The file with the manifest or index.
pub(super) const MANIFEST: &str = "manifest.json";
/// The file that says what the directory is.
pub(super) const VERSION: &str = "version";
/// What that file says before the version's number.
pub(super) const VERSION_TEXT: &str = "Directory Transport Version: ";

/// A directory of one image.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
    root: Root,
    /// An index of the root alone, for the choice of a platform.
    index: ImageIndex,
}

impl Dir {
    /// Opens a directory and reads its manifest or index.
    ///
    /// # Errors
    /// [`Error::Source`] with the path; [`Error::WrongForm`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let wrong =
            |reason: String| Error::WrongForm { path: path.to_owned(), form: "image directory", reason };
        // Old ones have none.
        if let Some(version) = read(&path.join(VERSION), 4096)? {
            let version = String::from_utf8_lossy(&version);
            if !version.strip_prefix(VERSION_TEXT).is_some_and(|number| number.starts_with("1.")) {
                return Err(wrong(format!("its file {VERSION} says `{}`", version.trim_end())));
            }
        }
        let bytes = read(&path.join(MANIFEST), MANIFEST_MAX)?
            .ok_or_else(|| wrong(format!("it has no file {MANIFEST}")))?;
        let media_type = media_type::of_document(None, &bytes)
            .map_err(|source| Error::model(path.join(MANIFEST).display(), source))?;
        let digest = Digest::sha256(&bytes);
        let subject = || path.join(MANIFEST).display().to_string();
        let descriptor = Descriptor::new(
            MediaType::from(media_type.as_str()),
            bytes.len() as u64,
            digest.as_str().parse::<oci_spec::image::Digest>().map_err(|_| wrong(subject()))?,
        );
        let index = ImageIndexBuilder::default()
            .schema_version(2_u32)
            .manifests([descriptor])
            .build()
            .map_err(|_| wrong(subject()))?;
        Ok(Self { path: path.to_owned(), root: Root { bytes, digest, media_type }, index })
    }
}

/// Reads a file whole; `None` if there is none.
fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>, Error> {
    match open_file(path) {
        Ok(file) => read_bounded(file, max)
            .map(Some)
            .map_err(|source| Error::source(Step::ReadSource, path.display(), source)),
        Err(Error::Source { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Source for Dir {
    fn describe(&self) -> String {
        Reference::Dir(self.path.clone()).to_string()
    }

    fn root(&self) -> Result<Root, Error> {
        Ok(self.root.clone())
    }

    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error> {
        let read = |descriptor: &Descriptor, max: u64| self.document(descriptor, max);
        select::choose(&self.index, &Select::Any, platform, &self.describe(), &read)
    }

    fn artifacts_of(&self, subject: &Digest, kind: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        let mut manifests = Vec::new();
        for path in outside::list(&self.path)?.unwrap_or_default() {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(hex) = name.strip_suffix(MANIFEST).and_then(|name| name.strip_suffix('.')) else {
                continue;
            };
            let Ok(digest) = Digest::new(&format!("sha256:{hex}")) else { continue };
            let Some(bytes) = read(&self.path.join(&path), MANIFEST_MAX)? else { continue };
            let Ok(media_type) = media_type::of_document(None, &bytes) else { continue };
            if let Ok(digest) = digest.as_str().parse::<oci_spec::image::Digest>() {
                manifests.push(Descriptor::new(MediaType::from(&*media_type), bytes.len() as u64, digest));
            }
        }
        let index = ImageIndexBuilder::default().schema_version(2_u32).manifests(manifests).build();
        let Ok(index) = index else { return Ok(Vec::new()) };
        artifacts::in_index(&index, subject, kind, &|descriptor, max| self.document(descriptor, max))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let digest = digest_of(descriptor)?;
        if digest == self.root.digest {
            return Ok(Box::new(self.root.bytes.as_slice()));
        }
        let kind = descriptor.media_type().as_ref().to_owned();
        let is_document = media_type::is_manifest(&kind) || media_type::is_index(&kind);
        let names = [Some(digest.encoded().to_owned()), is_document.then(|| child_name(&digest))];
        for name in names.into_iter().flatten().rev() {
            match open_file(&self.path.join(name)) {
                Ok(file) => return Ok(Box::new(file)),
                Err(Error::Source { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::BlobMissing { digest, place: self.path.display().to_string() })
    }
}

/// Returns the file of a manifest that an index names.
pub(super) fn child_name(digest: &Digest) -> String {
    format!("{}.{MANIFEST}", digest.encoded())
}
