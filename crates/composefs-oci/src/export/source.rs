//! A stored image as a medium to copy from.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex, PoisonError},
};

use composefs::{
    digest::ObjectId,
    progress::Observer,
    repo::Repository,
    splitstream::{ContentType, SplitStream},
};
use oci_spec::image::Descriptor;

use crate::{
    decompress::Decompressor,
    digest::{BlobDigest, ConfigDigest, DiffId, Digest, ManifestDigest},
    error::Error,
    find::{self, Name},
    ident,
    model::{
        Config, Manifest, ModelError, descriptor_digest,
        media_type::{self, Compression},
        platform::Platform,
    },
    stored::{StoredImage, indexes::StoredIndex, layer::LayerReader},
    transport::{Chosen, Document, Root, Source, digest_of},
};

use super::{
    ExportOptions, artifact,
    known::{self, Known},
    manifest::{NewChild, NewLayer, with_children, with_layers},
    options::Setting,
    pack::pack,
};

/// An image, and what its layers go out as.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExportedImage {
    /// The manifest's digest in the repository.
    pub original: ManifestDigest,
    /// The digest of the one that goes out.
    pub manifest: ManifestDigest,
    /// The config's digest, the same here and there.
    pub config: ConfigDigest,
    /// The layers, lowest first.
    pub layers: Vec<ExportedLayer>,
}

/// A layer on its way out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExportedLayer {
    /// Its diff_id; none for what is no layer of a file system.
    pub diff_id: Option<DiffId>,
    /// The digest of what goes out.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// How it is packed, if it is a tar.
    pub compression: Option<Compression>,
    /// Where its bytes come from.
    pub form: Form,
}

/// Where the bytes of a layer that goes out come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// They are the blob as it came in.
    Original,
    /// They are the tar.
    Tar,
    /// The tar was packed.
    Packed,
    /// What the tar packs to is known from before; it is packed only if it must be sent.
    Noted,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Original => "original",
            Self::Tar => "tar",
            Self::Packed => "packed",
            Self::Noted => "noted",
        })
    }
}

/// An image of the repository, as a medium.
pub struct StoredSource<'o> {
    repo: Repository,
    name: Name,
    options: ExportOptions,
    notes: known::Use,
    observer: &'o dyn Observer,
    root: Root,
    /// The manifests of an index that goes out.
    documents: HashMap<Digest, Vec<u8>>,
    blobs: HashMap<Digest, Blob>,
    /// What layers have become so far.
    layers: HashMap<DiffId, (ExportedLayer, bool)>,
    images: Vec<ExportedImage>,
}

/// Where a blob's bytes are.
enum Blob {
    Bytes(Arc<[u8]>),
    /// They are those of a stream.
    Stream(ObjectId),
    /// A kept blob, unpacked.
    Unpacked(ObjectId),
    File(Arc<File>),
    /// They are made when they are asked for.
    ToPack {
        layer: DiffId,
        tar: Tar,
        setting: Setting,
        known: Known,
        made: Mutex<Option<Arc<File>>>,
    },
}

/// Where a layer's tar is.
#[derive(Clone, Copy)]
struct Tar {
    stream: ObjectId,
    /// Whether the stream is that of the tar itself and not of a blob that was kept.
    is_plain: bool,
    size: Option<u64>,
}

impl fmt::Debug for StoredSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSource")
            .field("name", &self.name)
            .field("images", &self.images)
            .finish_non_exhaustive()
    }
}

impl<'o> StoredSource<'o> {
    /// Opens an image, and packs the layers whose packed form is not known. With [`ExportOptions::all`] it is the index
    /// that is kept with the tag.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NoSuchImage`] without an index where one is wanted; [`Error::BlobMismatch`] for a
    /// layer that is damaged here; [`Error::Cancelled`]; what reading gives.
    pub fn open(
        repo: &Repository,
        name: &Name,
        options: &ExportOptions,
        notes: known::Use,
        observer: &'o dyn Observer,
    ) -> Result<Self, Error> {
        let image = find::image(repo, name)?;
        let root = Root {
            bytes: Vec::new(),
            digest: image.manifest().digest().digest().clone(),
            media_type: String::new(),
        };
        let mut source = Self {
            repo: repo.clone(),
            name: name.clone(),
            options: options.clone(),
            notes,
            observer,
            root,
            documents: HashMap::new(),
            blobs: HashMap::new(),
            layers: HashMap::new(),
            images: Vec::new(),
        };
        source.root = if options.all { source.index()? } else { source.image(&image)? };
        Ok(source)
    }

    /// Returns the images.
    #[must_use]
    pub fn images(&self) -> &[ExportedImage] {
        &self.images
    }

    pub(super) fn into_images(self) -> Vec<ExportedImage> {
        self.images
    }

    /// Prepares the index that is kept with the tag, and all its images.
    fn index(&mut self) -> Result<Root, Error> {
        let kept = match &self.name {
            Name::Text(tag) => StoredIndex::of_tag(&self.repo, tag)?,
            Name::Digest(_) => None,
        };
        let index = kept.ok_or_else(|| Error::NoSuchImage {
            reference: self.name.to_string(),
            reason: "no index is kept with it; `oci pull --all-platforms` keeps one".to_owned(),
            present: Vec::new(),
        })?;
        let wrong = |source| Error::model(index.digest(), source);
        let parsed = crate::model::parse_index(index.bytes()).map_err(wrong)?;
        let mut changed = Vec::new();
        for descriptor in parsed.manifests() {
            let old = digest_of(descriptor)?;
            let image = StoredImage::open(&self.repo, &ManifestDigest::new(old.clone()))?;
            let root = self.image(&image)?;
            if root.digest != old {
                let (digest, size) = (root.digest.clone(), root.bytes.len());
                changed.push(NewChild { old, digest, size, media_type: root.media_type });
            }
            self.documents.insert(root.digest, root.bytes);
        }
        let (bytes, digest) = if changed.is_empty() {
            (index.bytes().to_vec(), index.digest().clone())
        } else {
            let bytes = with_children(index.bytes(), &changed).map_err(wrong)?;
            let digest = Digest::sha256(&bytes);
            (bytes, digest)
        };
        let media_type = media_type::of_document(None, &bytes).map_err(wrong)?;
        Ok(Root { bytes, digest, media_type })
    }

    /// Prepares one image; returns its manifest as it goes out.
    fn image(&mut self, image: &StoredImage) -> Result<Root, Error> {
        let manifest = image.manifest();
        let stream = self.repo.open_stream(image.manifest_stream())?;
        let config =
            manifest.config_digest().map_err(|source| Error::model(manifest.digest(), source.into()))?;
        self.blobs.insert(config.digest().clone(), Blob::Bytes(image.config().bytes().into()));
        let layers = if image.is_container() {
            self.container(image, &stream)?
        } else {
            self.artifact(image, &stream)?.into_iter().map(|layer| (layer, true)).collect()
        };
        let new = |(layer, same): &(ExportedLayer, bool)| {
            (!same).then(|| NewLayer {
                digest: layer.digest.clone(),
                size: layer.size,
                compression: layer.compression.unwrap_or(Compression::None),
            })
        };
        let new: Vec<Option<NewLayer>> = layers.iter().map(new).collect();
        let (bytes, digest) = if new.iter().all(Option::is_none) {
            (manifest.bytes().to_vec(), manifest.digest().digest().clone())
        } else {
            let wrong = |source| Error::model(manifest.digest(), source);
            let bytes = with_layers(manifest.bytes(), &new).map_err(wrong)?;
            let digest = Digest::sha256(&bytes);
            (bytes, digest)
        };
        let media_type =
            media_type::of_document(None, &bytes).map_err(|source| Error::model(&digest, source))?;
        self.images.push(ExportedImage {
            original: manifest.digest().clone(),
            manifest: ManifestDigest::new(digest.clone()),
            config,
            layers: layers.into_iter().map(|(layer, _)| layer).collect(),
        });
        Ok(Root { bytes, digest, media_type })
    }

    /// Prepares the blobs of an artifact, which go out as they are.
    fn artifact(
        &mut self,
        image: &StoredImage,
        stream: &SplitStream<File>,
    ) -> Result<Vec<ExportedLayer>, Error> {
        let mut layers = Vec::new();
        for descriptor in image.manifest().layers() {
            let digest = digest_of(descriptor)?;
            let id =
                image.config().named(digest.as_str()).copied().or_else(|| stream.named_ref(digest.as_str()));
            let id = id.map_or_else(|| self.kept(&digest, stream), |id| Ok(Some(id)))?;
            let id = id.ok_or_else(|| not_here(image.manifest(), &digest))?;
            self.blobs.insert(digest.clone(), Blob::Stream(id));
            let size = descriptor.size();
            layers.push(ExportedLayer {
                diff_id: None,
                digest,
                size,
                compression: None,
                form: Form::Original,
            });
        }
        Ok(layers)
    }

    /// Prepares the layers of a container image; tells of each whether its descriptor stays what it is.
    fn container(
        &mut self,
        image: &StoredImage,
        stream: &SplitStream<File>,
    ) -> Result<Vec<(ExportedLayer, bool)>, Error> {
        let manifest = image.manifest();
        let config: Config = image.config().parse()?;
        let (layers, diff_ids) = (manifest.layers().len(), config.diff_ids().len());
        if layers != diff_ids {
            return Err(Error::model(manifest.digest(), ModelError::LayerCount { layers, diff_ids }));
        }
        let mut prepared = Vec::new();
        for (descriptor, diff_id) in manifest.layers().iter().zip(config.diff_ids()) {
            let layer = match self.layers.get(diff_id) {
                Some((layer, same)) if !same || layer.digest.as_str() == descriptor.digest().as_ref() => {
                    (layer.clone(), *same)
                }
                _ => self.layer(image, stream, descriptor, diff_id)?,
            };
            self.layers.insert(diff_id.clone(), layer.clone());
            prepared.push(layer);
        }
        Ok(prepared)
    }

    fn layer(
        &mut self,
        image: &StoredImage,
        stream: &SplitStream<File>,
        descriptor: &Descriptor,
        diff_id: &DiffId,
    ) -> Result<(ExportedLayer, bool), Error> {
        let packing = self.options.packing;
        let blob = digest_of(descriptor)?;
        let said = media_type::tar_layer(descriptor.media_type().as_ref());
        let kept = self.kept(&blob, stream)?;
        let plain = image.config().named(diff_id.as_str()).copied();
        let made = |digest: Digest, size, compression, form| ExportedLayer {
            diff_id: Some(diff_id.clone()),
            digest,
            size,
            compression: Some(compression),
            form,
        };
        // The blob as it came: the tar itself, or one that was kept.
        let original = match (plain, kept) {
            (Some(plain), _) if blob == *diff_id.digest() => Some((plain, Compression::None)),
            (_, Some(kept)) => Some((kept, self.sniff(&kept, &blob)?)),
            _ => None,
        };
        if let Some((id, compression)) = original
            && packing.takes(compression)
        {
            self.blobs.insert(blob.clone(), Blob::Stream(id));
            return Ok((made(blob, descriptor.size(), compression, Form::Original), true));
        }
        let tar = match (plain, kept) {
            (Some(stream), _) => {
                Tar { stream, is_plain: true, size: self.repo.open_stream(&stream)?.stream_size() }
            }
            (None, Some(stream)) => Tar { stream, is_plain: false, size: None },
            (None, None) => return Err(not_here(image.manifest(), diff_id.digest())),
        };
        let Some(setting) = packing.setting(said) else {
            let size = match tar.size {
                Some(size) => size,
                None => io::copy(&mut self.open_tar(&tar, diff_id)?, &mut io::sink())
                    .map_err(|error| Error::blob_io(diff_id.digest(), error))?,
            };
            let blob = if tar.is_plain { Blob::Stream(tar.stream) } else { Blob::Unpacked(tar.stream) };
            self.blobs.insert(diff_id.digest().clone(), blob);
            return Ok((made(diff_id.digest().clone(), size, Compression::None, Form::Tar), false));
        };
        let noted = match self.notes {
            known::Use::Believe => known::of(&self.repo, diff_id, setting),
            known::Use::Renew => None,
        };
        let (known, blob, form) = match noted {
            Some(known) => {
                let layer = diff_id.clone();
                let made = Mutex::new(None);
                (known.clone(), Blob::ToPack { layer, tar, setting, known, made }, Form::Noted)
            }
            None => {
                let (known, file) = self.pack(&tar, diff_id, setting)?;
                known::record(&self.repo, diff_id, setting, &known);
                (known, Blob::File(Arc::new(file)), Form::Packed)
            }
        };
        // What packs to the blob that there was stays what it is.
        let same = known.digest == blob_digest(descriptor)? && known.size == descriptor.size();
        self.blobs.insert(known.digest.clone(), blob);
        Ok((made(known.digest, known.size, setting.compression(), form), same))
    }

    /// Finds the stream of a blob that was kept as it came.
    fn kept(&self, digest: &Digest, stream: &SplitStream<File>) -> Result<Option<ObjectId>, Error> {
        let entry = self.repo.stream_entry(&ident::blob(&BlobDigest::new(digest.clone()))?)?;
        for id in stream.named_ref(digest.as_str()).into_iter().chain(entry) {
            if let Ok(stream) = self.repo.open_stream(&id)
                && stream.content_type() == ContentType::OCI_BLOB
                && let Ok(object) = stream.only_object()
                && self.repo.has_object(&object)?
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    fn sniff(&self, kept: &ObjectId, digest: &Digest) -> Result<Compression, Error> {
        let reader = Decompressor::new(LayerReader::open(&self.repo, kept)?);
        Ok(reader.map_err(|error| Error::blob_io(digest, error))?.compression())
    }

    fn open_tar(&self, tar: &Tar, layer: &DiffId) -> Result<Box<dyn Read + Send + '_>, Error> {
        let reader = LayerReader::open(&self.repo, &tar.stream)?;
        if tar.is_plain {
            return Ok(Box::new(reader));
        }
        Ok(Box::new(Decompressor::new(reader).map_err(|error| Error::blob_io(layer.digest(), error))?))
    }

    fn pack(&self, tar: &Tar, layer: &DiffId, setting: Setting) -> Result<(Known, File), Error> {
        pack(self.open_tar(tar, layer)?, layer, tar.size, setting, &self.options, self.observer)
    }
}

fn blob_digest(descriptor: &Descriptor) -> Result<Digest, Error> {
    let digest = descriptor_digest(descriptor);
    digest
        .map(|digest| digest.digest().clone())
        .map_err(|source| Error::model(descriptor.digest(), source.into()))
}

fn not_here(manifest: &Manifest, layer: &Digest) -> Error {
    Error::Damaged {
        subject: format!("manifest {}", manifest.digest()),
        reason: format!("its layer {layer} is not here"),
    }
}

impl Source for StoredSource<'_> {
    fn describe(&self) -> String {
        format!("{} of the repository", self.name)
    }

    fn root(&self) -> Result<Root, Error> {
        Ok(self.root.clone())
    }

    fn document(&self, descriptor: &Descriptor, max: u64) -> Result<Document, Error> {
        match self.documents.get(&digest_of(descriptor)?) {
            Some(bytes) => Ok(bytes.clone()),
            None if media_type::is_manifest(descriptor.media_type().as_ref()) => {
                artifact::document(&self.repo, digest_of(descriptor)?)
            }
            None => crate::transport::read_document(descriptor, max, |descriptor| self.blob(descriptor)),
        }
    }

    /// Returns the manifest there is, whatever the platform: the name means that one.
    fn manifest(&self, _platform: &Platform) -> Result<Chosen, Error> {
        let Root { bytes, digest, .. } = self.root.clone();
        Ok(Chosen { bytes, digest, warning: None })
    }

    fn artifacts_of(&self, subject: &Digest, kind: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        artifact::list(&self.repo, subject, kind)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let digest = digest_of(descriptor)?;
        let Some(blob) = self.blobs.get(&digest) else {
            return artifact::blob(&self.repo, digest, &self.describe());
        };
        Ok(match blob {
            Blob::Bytes(bytes) => Box::new(io::Cursor::new(Arc::clone(bytes))),
            Blob::Stream(id) => Box::new(LayerReader::open(&self.repo, id)?),
            Blob::Unpacked(id) => {
                let reader = Decompressor::new(LayerReader::open(&self.repo, id)?);
                Box::new(reader.map_err(|error| Error::blob_io(&digest, error))?)
            }
            Blob::File(file) => Box::new(FromStart { file: Arc::clone(file), offset: 0 }),
            Blob::ToPack { layer, tar, setting, known, made } => {
                let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
                let file = match &*made {
                    Some(file) => Arc::clone(file),
                    None => {
                        let (packed, file) = self.pack(tar, layer, *setting)?;
                        if packed != *known {
                            return Err(Error::PackedOtherwise { layer: layer.clone() });
                        }
                        Arc::clone(made.insert(Arc::new(file)))
                    }
                };
                Box::new(FromStart { file, offset: 0 })
            }
        })
    }
}

/// A file read from its start, whoever else reads it.
struct FromStart {
    file: Arc<File>,
    offset: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(got as u64);
        Ok(got)
    }
}
