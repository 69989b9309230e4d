//! A layout inside a tar, plain or compressed.

pub mod write;

use std::{
    fs::File,
    io::{self, Read},
};

use oci_spec::image::{Descriptor, ImageIndex};

use crate::{
    digest::Digest,
    error::{Error, Step},
    model::{MANIFEST_MAX, parse_index, platform::Platform},
    reference::{InLayout, Reference},
};

use super::{
    Chosen, Root, Source, archive_file,
    archive_index::{ArchiveIndex, Keep},
    artifacts, digest_of,
    layout::{check_version, read_bounded},
    select,
};

/// An archive of an OCI layout and which of its images is meant.
#[derive(Debug)]
pub struct OciArchive {
    at: InLayout,
    members: ArchiveIndex,
    index: ImageIndex,
}

impl OciArchive {
    /// Opens an archive. A compressed one is decompressed into an unnamed temporary file first, since its blobs
    /// are needed in another order than they come.
    ///
    /// # Errors
    /// [`Error::Source`] with the path; [`Error::NotALayout`].
    pub fn open(at: &InLayout) -> Result<Self, Error> {
        let file = archive_file::open(&at.path)?.ok_or_else(|| Error::NotALayout {
            path: at.path.clone(),
            reason: "it is a directory, not an archive; say oci: for it".to_owned(),
        })?;
        Self::of(file, at)
    }

    /// Reads an archive that is open and not packed.
    pub(super) fn of(file: File, at: &InLayout) -> Result<Self, Error> {
        let fail = |source: io::Error| Error::source(Step::ReadSource, at.path.display(), source);
        let members = ArchiveIndex::read(file, Keep::Layout).map_err(fail)?;
        let read = |name: &str, max: u64| {
            let (member, _) = members.open(name).ok_or_else(|| Error::NotALayout {
                path: at.path.clone(),
                reason: format!("it has no member {name}"),
            })?;
            read_bounded(member, max).map_err(fail)
        };
        check_version(&read("oci-layout", 4096)?, &at.path)?;
        let index = parse_index(&read("index.json", MANIFEST_MAX)?)
            .map_err(|source| Error::model(at.path.join("index.json").display(), source))?;
        Ok(Self { at: at.clone(), members, index })
    }
}

impl Source for OciArchive {
    fn describe(&self) -> String {
        Reference::OciArchive(self.at.clone()).to_string()
    }

    fn root(&self) -> Result<Root, Error> {
        let read = |descriptor: &Descriptor, max: u64| self.document(descriptor, max);
        select::root(&self.index, &self.at.select, &self.describe(), &read)
    }

    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error> {
        let read = |descriptor: &Descriptor, max: u64| self.document(descriptor, max);
        select::choose(&self.index, &self.at.select, platform, &self.describe(), &read)
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
        let digest = digest_of(descriptor)?;
        let name = format!("blobs/{}/{}", digest.algorithm(), digest.encoded());
        let member = self.members.open(&name);
        member.map(|(member, _)| member as Box<dyn Read + Send>).ok_or_else(|| Error::BlobMissing {
            digest,
            place: format!("{} in {}", name, self.at.path.display()),
        })
    }
}
