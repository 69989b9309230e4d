//! OCI image layout directories.
//!
//! # Format
//! OCI image-spec, image layout.

pub mod write;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use oci_spec::image::{Descriptor, ImageIndex};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::retry_on_intr,
};

use crate::{
    digest::{Digest, VerifyingReader},
    error::{Error, Step},
    model::{MANIFEST_MAX, parse_index, platform::Platform},
    reference::{InLayout, Reference, Select},
};

use super::{Chosen, Root, Source, artifacts, digest_of, select};

/// An OCI layout directory and which of its images is meant.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    select: Select,
    index: ImageIndex,
}

impl Layout {
    /// Opens a layout; checks its version and reads its index.
    ///
    /// # Errors
    /// [`Error::Source`] with the path; [`Error::NotALayout`].
    pub fn open(at: &InLayout) -> Result<Self, Error> {
        let read = |name: &str, max: u64| {
            let path = at.path.join(name);
            let file = open_file(&path)?;
            read_bounded(file, max).map_err(|source| Error::source(Step::ReadSource, path.display(), source))
        };
        let version = read("oci-layout", 4096)?;
        super::layout::check_version(&version, &at.path)?;
        let index = read("index.json", MANIFEST_MAX)?;
        let index = parse_index(&index)
            .map_err(|source| Error::model(at.path.join("index.json").display(), source))?;
        Ok(Self { path: at.path.clone(), select: at.select.clone(), index })
    }

    fn open_blob(&self, descriptor: &Descriptor) -> Result<File, Error> {
        let digest = digest_of(descriptor)?;
        let path = self.path.join("blobs").join(digest.algorithm()).join(digest.encoded());
        let file = open_file(&path).map_err(|error| match error {
            Error::Source { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Error::BlobMissing { digest: digest.clone(), place: path.display().to_string() }
            }
            other => other,
        })?;
        Ok(file)
    }
}

/// Opens a file for reading; refuses what is no regular file, so that a FIFO cannot hang us.
pub(super) fn open_file(path: &Path) -> Result<File, Error> {
    let fail = |source: io::Error| Error::source(Step::OpenSource, path.display(), source);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = retry_on_intr(|| openat(CWD, path, flags, Mode::empty())).map_err(|errno| fail(errno.into()))?;
    let file = File::from(fd);
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(fail(io::Error::other("not a regular file")));
    }
    Ok(file)
}

/// Checks the contents of the file `oci-layout`.
pub(super) fn check_version(bytes: &[u8], path: &Path) -> Result<(), Error> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    let marker: Marker = serde_json::from_slice(bytes).map_err(|_| Error::NotALayout {
        path: path.to_owned(),
        reason: "its file oci-layout is damaged".to_owned(),
    })?;
    if marker.image_layout_version.starts_with("1.") {
        return Ok(());
    }
    Err(Error::NotALayout {
        path: path.to_owned(),
        reason: format!("layout version {} is not known", marker.image_layout_version),
    })
}

/// Reads to the end, at most `max` bytes.
pub(super) fn read_bounded(reader: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {max} bytes")));
    }
    Ok(bytes)
}

/// Reads a document whole through `open` and checks it against its descriptor.
pub(crate) fn read_document<'a>(
    descriptor: &Descriptor,
    max: u64,
    open: impl FnOnce(&Descriptor) -> Result<Box<dyn Read + Send + 'a>, Error>,
) -> Result<Vec<u8>, Error> {
    let digest = digest_of(descriptor)?;
    if descriptor.size() > max {
        return Err(Error::TooLarge { digest, size: descriptor.size(), max });
    }
    let blob = VerifyingReader::new(open(descriptor)?, &digest, Some(descriptor.size()))
        .map_err(|fault| Error::blob(&digest, fault))?;
    read_bounded(blob, max).map_err(|error| Error::blob_io(&digest, error))
}

impl Source for Layout {
    fn describe(&self) -> String {
        Reference::Layout(InLayout { path: self.path.clone(), select: self.select.clone() }).to_string()
    }

    fn root(&self) -> Result<Root, Error> {
        let read = |descriptor: &Descriptor, max: u64| self.document(descriptor, max);
        select::root(&self.index, &self.select, &self.describe(), &read)
    }

    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error> {
        let read = |descriptor: &Descriptor, max: u64| self.document(descriptor, max);
        select::choose(&self.index, &self.select, platform, &self.describe(), &read)
    }

    fn artifacts_of(&self, subject: &Digest, kind: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        let read = |descriptor: &Descriptor, max: u64| self.document(descriptor, max);
        artifacts::in_index(&self.index, subject, kind, &read)
    }

    fn tagged(&self, tag: &str) -> Result<Option<Root>, Error> {
        let read = |descriptor: &Descriptor, max: u64| self.document(descriptor, max);
        select::tagged(&self.index, tag, &self.describe(), &read)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        Ok(Box::new(self.open_blob(descriptor)?))
    }
}
