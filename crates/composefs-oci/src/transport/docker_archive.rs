//! What `docker save` writes: a tar with images by name, their layers uncompressed.
//!
//! There is no OCI manifest in it, so one is made from what is there, the same for the same image whoever saved it:
//! the config as it is, and the layers as uncompressed tars, which is what they are given out as however they lie in
//! the archive.
//!
//! # Format
//! `docs/formats/transports.md`, section 11.

mod legacy;
mod listing;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{Mutex, PoisonError},
};

use oci_spec::image::Descriptor;
use serde::Serialize;

use crate::{
    decompress::Decompressor,
    digest::{ConfigDigest, Digest},
    error::{Error, Step},
    model::{CONFIG_MAX, Config, LAYERS_MAX, MANIFEST_MAX, ModelError, media_type, platform::Platform},
    reference::{ArchiveSelect, InDockerArchive, Reference},
};

use super::{
    Chosen, Root, Source, archive_file,
    archive_index::{ArchiveIndex, Keep, ReadAt},
    digest_of,
    layout::read_bounded,
};
use listing::{Listed, Listing};

/// What this is called in errors.
const FORM: &str = "docker-archive";

/// An archive of `docker save` and which of its images is meant.
#[derive(Debug)]
pub struct DockerArchive {
    at: InDockerArchive,
    name: String,
    members: ArchiveIndex,
    listing: Listing,
    /// Made when it is first asked for.
    image: Mutex<Option<Image>>,
}

/// The image that is meant, as a manifest of ours.
#[derive(Clone, Debug)]
struct Image {
    manifest: Vec<u8>,
    config_digest: Digest,
    config: Vec<u8>,
    platform: Platform,
    /// The digests of the layers as tars, and the members they are in.
    layers: Vec<(Digest, String)>,
}

impl DockerArchive {
    /// Opens an archive. A compressed one is decompressed into an unnamed temporary file first, since its members
    /// are needed in another order than they come.
    ///
    /// # Errors
    /// [`Error::Source`] with the path; [`Error::WrongForm`].
    pub fn open(at: &InDockerArchive) -> Result<Self, Error> {
        let file = archive_file::open(&at.path)?.ok_or_else(|| Error::WrongForm {
            path: at.path.clone(),
            form: FORM,
            reason: "it is a directory".to_owned(),
        })?;
        Self::read(file, at.clone(), Reference::DockerArchive(at.clone()).to_string())
    }

    /// Reads an archive in memory, not compressed; `name` is what it is called in messages.
    ///
    /// # Errors
    /// As [`DockerArchive::open`].
    pub fn from_bytes(archive: Vec<u8>, select: ArchiveSelect, name: &str) -> Result<Self, Error> {
        Self::read(archive, InDockerArchive { path: name.into(), select }, name.to_owned())
    }

    /// Reads an archive of one image that came from elsewhere; `name` is what it is called in messages.
    pub(super) fn from_file(archive: File, name: &str) -> Result<Self, Error> {
        let at = InDockerArchive { path: name.into(), select: ArchiveSelect::Only };
        Self::read(archive, at, name.to_owned())
    }

    /// Reads an archive that is open and not packed.
    pub(super) fn of(archive: File, at: InDockerArchive) -> Result<Self, Error> {
        let name = Reference::DockerArchive(at.clone()).to_string();
        Self::read(archive, at, name)
    }

    /// Returns the names of each image.
    pub(super) fn all_names(&self) -> Vec<Vec<String>> {
        self.listing.all_names()
    }

    fn read(bytes: impl ReadAt + 'static, at: InDockerArchive, name: String) -> Result<Self, Error> {
        let members = ArchiveIndex::read(bytes, Keep::All)
            .map_err(|source| Error::source(Step::ReadSource, at.path.display(), source))?;
        let listing = match read_member(&members, &at.path, "manifest.json", MANIFEST_MAX)? {
            Some(bytes) => Listing::parse(&bytes),
            None => match read_member(&members, &at.path, "repositories", MANIFEST_MAX)? {
                Some(bytes) => Listing::parse_old(&bytes),
                None => {
                    let reason = "it has no manifest.json".to_owned();
                    return Err(Error::WrongForm { path: at.path, form: FORM, reason });
                }
            },
        };
        let listing = listing.map_err(|source| {
            Error::model(at.path.display(), ModelError::Json { what: "list of images", source })
        })?;
        Ok(Self { at, name, members, listing, image: Mutex::new(None) })
    }

    fn image(&self) -> Result<Image, Error> {
        let mut image = self.image.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = &*image {
            return Ok(image.clone());
        }
        Ok(image.insert(self.make()?).clone())
    }

    /// Makes the manifest of the image that is meant.
    fn make(&self) -> Result<Image, Error> {
        let listed = self.listing.find(&self.at.select).map_err(|reason| Error::NoSuchImage {
            reference: self.name.clone(),
            reason,
            present: self.listing.names(),
        })?;
        let (config, layers) = match listed {
            Listed::Image { config, layers, .. } => (self.config(config)?, layers.clone()),
            Listed::Old { top, .. } => {
                legacy::image(top, &|name, max| self.member(name, max), &|name| self.layer(name))?
            }
        };
        let config_digest = Digest::sha256(&config);
        let parsed = Config::parse_as(config, ConfigDigest::new(config_digest.clone()))
            .map_err(|source| Error::model(&config_digest, source))?;
        let (count, diff_ids) = (layers.len(), parsed.diff_ids().len());
        if count > LAYERS_MAX || count != diff_ids {
            return Err(Error::model(&self.name, ModelError::LayerCount { layers: count, diff_ids }));
        }
        let mut descriptors = Vec::with_capacity(count);
        for (name, diff_id) in layers.iter().zip(parsed.diff_ids()) {
            descriptors.push(Entry::new(
                media_type::OCI_LAYER,
                diff_id.digest(),
                self.size(name, diff_id.digest())?,
            ));
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST,
            config: Entry::new(media_type::OCI_CONFIG, &config_digest, parsed.bytes().len() as u64),
            layers: descriptors,
        };
        let manifest = serde_json::to_vec(&manifest)
            .map_err(|source| Error::model(&self.name, ModelError::Json { what: "manifest", source }))?;
        Ok(Image {
            manifest,
            config_digest,
            config: parsed.bytes().to_vec(),
            platform: Platform::from(parsed.parsed()),
            layers: parsed.diff_ids().iter().map(|id| id.digest().clone()).zip(layers).collect(),
        })
    }

    /// Reads a config; one whose name says its digest has to have it.
    fn config(&self, name: &str) -> Result<Vec<u8>, Error> {
        let config = self.member(name, CONFIG_MAX)?;
        let stem = name.rsplit('/').next().unwrap_or(name);
        let stem = stem.strip_suffix(".json").unwrap_or(stem);
        let claimed = format!("sha256:{}", stem.strip_prefix("sha256:").unwrap_or(stem));
        if let Ok(claimed) = Digest::new(&claimed) {
            let actual = Digest::sha256(&config);
            if actual != claimed {
                return Err(Error::blob(&claimed, crate::digest::BlobFault::Digest { actual }));
            }
        }
        Ok(config)
    }

    fn member(&self, name: &str, max: u64) -> Result<Vec<u8>, Error> {
        read_member(&self.members, &self.at.path, name, max)?.ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> Error {
        Error::WrongForm {
            path: self.at.path.clone(),
            form: FORM,
            reason: format!("its member {name} is missing"),
        }
    }

    /// Opens a layer's member as a tar, however it is packed.
    fn layer(&self, name: &str) -> Result<Box<dyn Read + Send + '_>, Error> {
        let (member, _) = self.members.open(name).ok_or_else(|| self.missing(name))?;
        let tar = Decompressor::new(member).map_err(|source| {
            Error::source(Step::ReadSource, format!("{name} in {}", self.at.path.display()), source)
        })?;
        Ok(Box::new(tar))
    }

    /// Returns the size of a layer's tar; for one that is packed by unpacking it.
    fn size(&self, name: &str, diff_id: &Digest) -> Result<u64, Error> {
        let (member, size) = self.members.open(name).ok_or_else(|| self.missing(name))?;
        let fail = |error| Error::blob_io(diff_id, error);
        let mut tar = Decompressor::new(member).map_err(fail)?;
        match tar.compression() {
            media_type::Compression::None => Ok(size),
            _ => io::copy(&mut tar, &mut io::sink()).map_err(fail),
        }
    }
}

fn read_member(members: &ArchiveIndex, path: &Path, name: &str, max: u64) -> Result<Option<Vec<u8>>, Error> {
    let Some((member, _)) = members.open(name) else { return Ok(None) };
    read_bounded(member, max)
        .map(Some)
        .map_err(|source| Error::source(Step::ReadSource, format!("{name} in {}", path.display()), source))
}

/// The manifest that is made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: &'static str,
    config: Entry,
    layers: Vec<Entry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: &'static str,
    digest: String,
    size: u64,
}

impl Entry {
    fn new(media_type: &'static str, digest: &Digest, size: u64) -> Self {
        Self { media_type, digest: digest.to_string(), size }
    }
}

impl Source for DockerArchive {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn root(&self) -> Result<Root, Error> {
        let bytes = self.image()?.manifest;
        let digest = Digest::sha256(&bytes);
        Ok(Root { bytes, digest, media_type: media_type::OCI_MANIFEST.to_owned() })
    }

    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error> {
        let image = self.image()?;
        let warning = match platform.accepts(&image.platform) {
            true => None,
            false => super::select::foreign(&self.name, &image.platform.to_string(), platform)?,
        };
        let digest = Digest::sha256(&image.manifest);
        Ok(Chosen { bytes: image.manifest, digest, warning })
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let digest = digest_of(descriptor)?;
        let image = self.image()?;
        if digest == image.config_digest {
            return Ok(Box::new(io::Cursor::new(image.config)));
        }
        match image.layers.iter().find(|(diff_id, _)| *diff_id == digest) {
            Some((_, name)) => self.layer(name),
            None => Err(Error::BlobMissing { digest, place: self.at.path.display().to_string() }),
        }
    }
}
