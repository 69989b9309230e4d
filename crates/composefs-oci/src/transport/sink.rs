//! Where images go: a medium takes blobs, then what refers to them, and the name at last.

use std::io::{Read, Write};

use composefs::disk::folder::Folder;
use oci_spec::image::Descriptor;

use crate::{
    decompress::BUFFER,
    digest::{Digest, VerifyingReader},
    error::{Error, Step},
    model::media_type,
    reference::{Reference, Select},
};

use super::{
    Root, digest_of, dir::write::DirSink, layout::write::LayoutSink, oci_archive::write::ArchiveSink,
};

/// Opens a blob at its source, as often as it is needed.
pub type OpenBlob<'a> = dyn Fn() -> Result<Box<dyn Read + Send + 'a>, Error> + Sync + 'a;

/// A medium that takes images. Until [`Sink::finish`] nobody who reads it sees anything of the image.
///
/// Blobs come in any order and from several threads, manifests after all blobs, children before their parents.
pub trait Sink: Send + Sync {
    /// Returns the reference in words for messages.
    fn describe(&self) -> String;

    /// Hears what will come: the manifest or index that gets the name, and each blob and manifest below it once.
    ///
    /// # Errors
    /// [`Error::NotADestination`] for what the medium cannot hold, and what writing gives.
    fn begin(&self, root: &Root, contents: &[Descriptor]) -> Result<(), Error>;

    /// Tells whether the medium has a blob, or can have it without its bytes.
    ///
    /// # Errors
    /// What asking gives.
    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error>;

    /// Takes a blob; digest and size are checked before it has a name.
    ///
    /// # Errors
    /// [`Error::BlobMismatch`], what `open` gives, and what writing gives.
    fn put_blob(&self, blob: &Descriptor, open: &OpenBlob<'_>) -> Result<(), Error>;

    /// Takes a manifest or index as it is, under its digest.
    ///
    /// # Errors
    /// What writing gives.
    fn put_manifest(&self, document: &Root) -> Result<(), Error>;

    /// Takes the manifest or index that is the image, and gives it its name.
    ///
    /// # Errors
    /// What writing gives.
    fn finish(&self, root: &Root) -> Result<(), Error>;
}

/// How media are opened for writing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SinkOptions {
    /// How registries are got at.
    #[cfg(feature = "registry")]
    pub registry: super::registry::RegistryOptions,
    /// Where the image comes from: a registry is asked to take its blobs over from there, if it is the same one.
    #[cfg(feature = "registry")]
    pub mount_from: Option<crate::reference::RegistryReference>,
}

impl SinkOptions {
    /// Sets how registries are got at.
    #[cfg(feature = "registry")]
    #[must_use]
    pub fn registry(mut self, options: super::registry::RegistryOptions) -> Self {
        self.registry = options;
        self
    }

    /// Sets where the image comes from.
    #[must_use]
    pub fn source(mut self, source: &Reference) -> Self {
        #[cfg(feature = "registry")]
        if let Reference::Registry(name) = source {
            self.mount_from = Some(name.clone());
        }
        let _ = (&mut self, source);
        self
    }
}

/// Opens the medium of a reference for writing; what is missing of it is made.
///
/// # Errors
/// [`Error::NotADestination`] for media that are only read, and what opening gives.
pub fn create(reference: &Reference, options: &SinkOptions) -> Result<Box<dyn Sink>, Error> {
    let _ = options;
    let refuse = |reason: &'static str| Error::NotADestination { reference: reference.to_string(), reason };
    let tag = |select: &Select| match select {
        Select::Any => Ok(None),
        Select::Tag(tag) => Ok(Some(tag.clone())),
        Select::Digest(_) | Select::Position(_) => {
            Err(refuse("an image gets a tag, not a digest or position"))
        }
    };
    match reference {
        Reference::Layout(at) => Ok(Box::new(LayoutSink::create(&at.path, tag(&at.select)?)?)),
        Reference::OciArchive(at) => Ok(Box::new(ArchiveSink::create(&at.path, tag(&at.select)?)?)),
        Reference::Dir(path) => Ok(Box::new(DirSink::create(path)?)),
        #[cfg(feature = "registry")]
        Reference::Registry(name) => {
            let from = options.mount_from.as_ref();
            Ok(Box::new(super::registry::push::RegistrySink::create(name, from, &options.registry)?))
        }
        Reference::ShortName(_) => Err(refuse("a destination is written out, with its registry")),
        Reference::DockerArchive(_) => {
            Err(refuse("Docker's own archives are written by `cfsctl oci save` alone"))
        }
        Reference::DockerDaemon(_) => {
            Err(refuse("Docker's daemon is not written to; load an oci-archive: into it"))
        }
        _ => Err(refuse("this transport is only read")),
    }
}

/// Writes a blob, checked against its descriptor, to its end.
pub(super) fn write_checked(
    blob: &Descriptor,
    open: &OpenBlob<'_>,
    place: &str,
    to: &mut dyn Write,
) -> Result<(), Error> {
    let digest = digest_of(blob)?;
    let mut from = verified(blob, &digest, open)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let got = from.read(&mut buffer).map_err(|error| Error::blob_io(&digest, error))?;
        if got == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..got).unwrap_or_default())
            .map_err(|source| Error::source(Step::Write, place, source))?;
    }
}

/// Puts a blob into a directory under the name of its digest, once it is whole and right.
pub(super) fn put_blob(folder: &Folder, blob: &Descriptor, open: &OpenBlob<'_>) -> Result<(), Error> {
    let digest = digest_of(blob)?;
    let staged = folder.stage()?;
    let place = folder.path().join(digest.encoded());
    write_checked(blob, open, &place.display().to_string(), &mut staged.file())?;
    Ok(staged.publish(digest.encoded())?)
}

/// Puts a document into a directory under a name; it is durable when the directory is.
pub(super) fn put_document(folder: &Folder, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let staged = folder.stage()?;
    let place = folder.path().join(name);
    staged.file().write_all(bytes).map_err(|source| Error::source(Step::Write, place.display(), source))?;
    Ok(staged.publish(name)?)
}

/// Opens a blob such that its reader checks digest and size.
pub(super) fn verified<'a>(
    blob: &Descriptor,
    digest: &Digest,
    open: &OpenBlob<'a>,
) -> Result<VerifyingReader<Box<dyn Read + Send + 'a>>, Error> {
    VerifyingReader::new(open()?, digest, Some(blob.size())).map_err(|fault| Error::blob(digest, fault))
}

/// Tells whether a descriptor is of a manifest or an index.
pub(super) fn is_document(descriptor: &Descriptor) -> bool {
    let kind = descriptor.media_type().as_ref();
    media_type::is_manifest(kind) || media_type::is_index(kind)
}
