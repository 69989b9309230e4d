//! All images of an archive, whichever of the two forms it has, and whether it is a file or a stream.

use std::{fs::File, io::Read, path::Path};

use crate::{
    error::{Error, Step},
    model::{MANIFEST_MAX, parse_index},
    policy::{Identity, PathTransport, Policy},
    reference::{ArchiveSelect, InDockerArchive, InLayout, Select},
};

use super::{
    Source, archive_file,
    archive_index::{ArchiveIndex, Keep},
    docker_archive::DockerArchive,
    layout::read_bounded,
    oci_archive::OciArchive,
    resolved,
    select::REF_NAME,
};

/// What an image is called where containerd looks.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The most images of an archive.
const IMAGES_MAX: usize = 1024;

/// An archive with images.
#[derive(Debug)]
pub struct SavedArchive {
    file: File,
    path: std::path::PathBuf,
    is_layout: bool,
    images: Vec<Vec<String>>,
}

impl SavedArchive {
    /// Opens an archive, which may be packed.
    ///
    /// # Errors
    /// [`Error::Source`] with the path; [`Error::WrongForm`] for what is no archive of images; [`Error::Policy`].
    pub fn open(path: &Path, policy: &Policy) -> Result<Self, Error> {
        let file = archive_file::open(path)?.ok_or_else(|| wrong(path, "it is a directory"))?;
        Self::of(file, path, policy)
    }

    /// Reads an archive from a stream, into an unnamed file; `name` is what it is called in messages and in policies.
    ///
    /// # Errors
    /// As [`SavedArchive::open`].
    pub fn read(stream: impl Read + Send, name: &Path, policy: &Policy) -> Result<Self, Error> {
        let file = archive_file::spool_unpacked(stream)
            .map_err(|source| Error::source(Step::ReadSource, name.display(), source))?;
        Self::of(file, name, policy)
    }

    fn of(file: File, path: &Path, policy: &Policy) -> Result<Self, Error> {
        let fail = |source| Error::source(Step::ReadSource, path.display(), source);
        let members = ArchiveIndex::read(file.try_clone().map_err(fail)?, Keep::All).map_err(fail)?;
        // New archives of Docker are both; a layout has the manifests.
        let is_layout = members.open("oci-layout").is_some() && members.open("index.json").is_some();
        let images = if is_layout {
            policy.admit(&Identity::path(PathTransport::OciArchive, &resolved(path)?))?;
            let (member, _) =
                members.open("index.json").ok_or_else(|| wrong(path, "it has no index.json"))?;
            let index = parse_index(&read_bounded(member, MANIFEST_MAX).map_err(fail)?)
                .map_err(|source| Error::model(path.join("index.json").display(), source))?;
            let name = |entry: &oci_spec::image::Descriptor| {
                let annotations = entry.annotations().as_ref();
                let get = |key: &str| annotations.and_then(|all| all.get(key)).cloned();
                let name = match (get(REF_NAME), get(CONTAINERD_NAME)) {
                    // Docker has the tag alone in the one, and all of the name in the other.
                    (Some(tag), Some(whole)) if whole.ends_with(&format!(":{tag}")) => Some(whole),
                    (Some(name), _) => Some(name),
                    (None, whole) => whole,
                };
                name.into_iter().collect()
            };
            index.manifests().iter().map(name).collect()
        } else {
            policy.admit(&Identity::docker_archive(path))?;
            let at = InDockerArchive { path: path.to_owned(), select: ArchiveSelect::Position(0) };
            DockerArchive::of(file.try_clone().map_err(fail)?, at)?.all_names()
        };
        match images.len() {
            0 => Err(wrong(path, "it has no images")),
            count if count > IMAGES_MAX => Err(wrong(path, "it has more than 1024 images")),
            _ => Ok(Self { file, path: path.to_owned(), is_layout, images }),
        }
    }

    /// Returns the names of each image, in the order of the archive.
    #[must_use]
    pub fn images(&self) -> &[Vec<String>] {
        &self.images
    }

    /// Opens the image at a position.
    ///
    /// # Errors
    /// [`Error::Source`], [`Error::NotALayout`], [`Error::WrongForm`].
    pub fn image(&self, position: usize) -> Result<Box<dyn Source>, Error> {
        let fail = |source| Error::source(Step::ReadSource, self.path.display(), source);
        let (file, path) = (self.file.try_clone().map_err(fail)?, self.path.clone());
        Ok(match self.is_layout {
            true => Box::new(OciArchive::of(file, &InLayout { path, select: Select::Position(position) })?),
            false => {
                let select = ArchiveSelect::Position(position);
                Box::new(DockerArchive::of(file, InDockerArchive { path, select })?)
            }
        })
    }
}

fn wrong(path: &Path, reason: &str) -> Error {
    Error::WrongForm { path: path.to_owned(), form: "archive of images", reason: reason.to_owned() }
}
