//! The store of podman, buildah and skopeo on this machine, read and never written.
//!
//! Manifests and configs are the bytes that are stored. A layer is kept as the files it was unpacked to; its tar is put
//! together again, bit by bit, and checked against its diff_id like any other.
//!
//! # Format
//! `docs/formats/transports.md`, section 12.

mod catalog;
pub mod config;
mod crc64;
mod error;
mod layer;
pub mod store;
pub mod tar_split;

use std::{
    fmt,
    io::{self, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
};

use oci_spec::image::{Descriptor, MediaType};

use crate::{
    decompress::Decompressor,
    digest::{BlobFault, DiffId, Digest, ManifestDigest},
    environment::Environment,
    error::{Error, Step},
    model::{
        CONFIG_MAX, Config, LAYERS_MAX, MANIFEST_MAX, Manifest, media_type, parse_index, platform::Platform,
    },
    policy::Identity,
    reference::{InStorage, Reference, Select},
};

pub use error::StorageError;

use self::{
    catalog::{Catalog, Found, Meaning, Place},
    layer::LayerFiles,
    store::{LayerRecord, MANIFEST, ReadLock},
    tar_split::{Parts, Reassembler},
};
use super::{Chosen, FileTaker, Root, Source, digest_of, layout::read_bounded, select};

/// An image in podman's store. What is done with it later, such as removing a layer, is noticed and an error.
pub struct ContainersStorage {
    at: InStorage,
    catalog: Catalog,
    image: Place,
    identity: Identity,
    /// The manifest that the reference names by its digest.
    digest: Option<Digest>,
    /// Of the manifest that was chosen.
    layers: Mutex<Option<Arc<Vec<KeptLayer>>>>,
}

/// A layer of a manifest and where it is.
struct KeptLayer {
    /// The descriptor's digest.
    blob: String,
    diff_id: DiffId,
    store: usize,
    record: LayerRecord,
}

/// Returns what an image that skopeo gets out of a store is called in a policy: by the name as skopeo writes it out.
pub(super) fn identity(
    at: &InStorage,
    environment: &Environment,
    driver: Option<&str>,
) -> Result<Identity, Error> {
    let config = config::find(at.store(), environment)?;
    let driver = driver.or(config.driver.as_deref()).unwrap_or("overlay");
    let (name, id) = catalog::name_and_id(at.image());
    Ok(Identity::storage(driver, &config.graph_root, name.as_ref(), id))
}

impl fmt::Debug for ContainersStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainersStorage").field("at", &self.at).finish_non_exhaustive()
    }
}

impl ContainersStorage {
    /// Finds the store and the image in it.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] with the names there are; [`Error::Storage`] without a store or with a driver that is
    /// not read natively; [`Error::Source`].
    pub fn open(at: &InStorage, environment: &Environment) -> Result<Self, Error> {
        let config = config::find(at.store(), environment)?;
        let catalog = Catalog::open(&config)?;
        let meaning = catalog.find(at.image()).map_err(|reason| Error::NoSuchImage {
            reference: Reference::ContainersStorage(at.clone()).to_string(),
            reason,
            present: catalog.names(),
        })?;
        let layers = Mutex::default();
        let Meaning { at: image, name, by_id, digest } = meaning;
        let id = catalog.image(image).filter(|_| by_id).map(|found| found.image.id.as_str());
        let driver = catalog.driver().unwrap_or_default();
        let identity = Identity::storage(driver, &config.graph_root, name.as_ref(), id);
        Ok(Self { at: at.clone(), image, identity, digest, catalog, layers })
    }

    /// Returns what the image is called in a policy, by the configured store.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    fn image(&self) -> Result<Found<'_>, Error> {
        self.catalog.image(self.image).ok_or_else(|| Error::NotFound(self.describe()))
    }

    /// Finds the layers of a manifest, and remembers them.
    fn find_layers(&self, bytes: Vec<u8>, digest: &Digest) -> Result<Arc<Vec<KeptLayer>>, Error> {
        let manifest = Manifest::parse_as(bytes, ManifestDigest::new(digest.clone()))
            .map_err(|source| Error::model(digest, source))?;
        let config = manifest.parsed().config();
        let config_digest = manifest.config_digest().map_err(|source| Error::model(digest, source.into()))?;
        let config = Config::parse_as(self.document(config, CONFIG_MAX)?, config_digest.clone())
            .map_err(|source| Error::model(&config_digest, source))?;
        let first = self.image()?;
        let image = self.catalog.image_of(digest, first).unwrap_or(first);
        let chain = self.catalog.chain(image.image.layer.as_deref(), LAYERS_MAX)?;
        let failed = |fault| Error::storage(self.describe(), fault);
        let (layers, diff_ids) = (chain.len(), config.diff_ids());
        if layers != diff_ids.len() || layers != manifest.layers().len() {
            return Err(failed(StorageError::LayerCount { layers, diff_ids: diff_ids.len() }));
        }
        let mut all = Vec::with_capacity(layers);
        for ((descriptor, diff_id), (store, record)) in manifest.layers().iter().zip(diff_ids).zip(chain) {
            if let Some(actual) = record.diff_digest.as_ref().filter(|known| *known != diff_id.as_str()) {
                let (actual, expected) = (actual.clone(), diff_id.to_string());
                return Err(failed(StorageError::LayerMixup { id: record.id, actual, expected }));
            }
            all.push(KeptLayer {
                blob: descriptor.digest().to_string(),
                diff_id: diff_id.clone(),
                store,
                record,
            });
        }
        let layers = Arc::new(all);
        *self.layers.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&layers));
        Ok(layers)
    }

    /// Returns the layers of the manifest that was chosen, else of the one for this machine.
    fn layers(&self) -> Result<Arc<Vec<KeptLayer>>, Error> {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        layers.map_or_else(
            || {
                let chosen = self.choose(&Platform::native())?;
                self.find_layers(chosen.bytes, &chosen.digest)
            },
            Ok,
        )
    }

    fn choose(&self, platform: &Platform) -> Result<Chosen, Error> {
        let root = self.root()?;
        let read = |descriptor: &Descriptor, max: u64| self.document(descriptor, max);
        if !media_type::is_index(&root.media_type) {
            return select::choose_in(&root, platform, &self.describe(), &read);
        }
        let index = parse_index(&root.bytes).map_err(|source| Error::model(&root.digest, source))?;
        select::choose(&index, &Select::Any, platform, &self.describe(), &read)
    }

    /// Opens the tar of a layer. The store's layers stay locked until the reader is dropped.
    fn open_layer<'a>(
        &self,
        layer: &KeptLayer,
        taker: Option<&'a dyn FileTaker>,
    ) -> Result<LockedTar<'a>, Error> {
        let place = format!("layer {}", layer.record.id);
        let failed = |fault| Error::storage(&place, fault);
        let store = self.catalog.store(layer.store).ok_or_else(|| Error::NotFound(place.clone()))?;
        let lock = store.lock_layers()?;
        let parts = self.parts(layer)?;
        let (path, names) = store.files(&layer.record.id).map_err(failed)?;
        let files = LayerFiles::open(path, names.as_deref()).map_err(failed)?;
        let files = files.offered_to(taker);
        Ok(LockedTar { tar: Reassembler::new(parts, files), _lock: lock })
    }

    fn parts(&self, layer: &KeptLayer) -> Result<Parts<Lines>, Error> {
        let store = self.catalog.store(layer.store);
        let store = store.ok_or_else(|| Error::NotFound(format!("layer {}", layer.record.id)))?;
        let lines = Decompressor::new(store.tar_split(&layer.record.id)?).map_err(|error| {
            Error::source(Step::ReadSource, store.tar_split_path(&layer.record.id).display(), error)
        })?;
        Ok(Parts::new(BufReader::with_capacity(LINES_BUFFER, lines)))
    }

    /// Returns the length of a layer's tar in bytes: as recorded, else added up.
    fn size(&self, layer: &KeptLayer) -> Result<u64, Error> {
        // Of a layer that was made from a table of contents it need not be that of the tar.
        let recorded = layer.record.diff_size.filter(|_| layer.record.toc_digest.is_none());
        match recorded.and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0) {
            Some(size) => Ok(size),
            None => tar_split::length(self.parts(layer)?)
                .map_err(|error| Error::blob_io(layer.diff_id.digest(), error)),
        }
    }
}

/// Bytes of tar-split that are decompressed at once.
const LINES_BUFFER: usize = 64 * 1024;

type Lines = BufReader<Decompressor<'static>>;

/// The tar of a layer that nobody can remove meanwhile.
struct LockedTar<'a> {
    tar: Reassembler<Lines, LayerFiles<'a>>,
    _lock: ReadLock,
}

impl Read for LockedTar<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tar.read(buffer)
    }
}

impl Source for ContainersStorage {
    fn describe(&self) -> String {
        Reference::ContainersStorage(self.at.clone()).to_string()
    }

    fn root(&self) -> Result<Root, Error> {
        let Found { store, image, .. } = self.image()?;
        let recorded = || image.manifest_digest().and_then(|digest| Digest::new(digest).ok());
        let file = match &self.digest {
            Some(digest) => self.catalog.document(digest, self.image()?)?,
            None => None,
        };
        let file = file.map_or_else(|| store.document(image, MANIFEST), Ok)?;
        let bytes = read_bounded(file, MANIFEST_MAX)
            .map_err(|error| Error::source(Step::ReadSource, self.describe(), error))?;
        let expected = self.digest.clone().or_else(recorded);
        let actual = expected.as_ref().and_then(|expected| expected.of_same_algorithm(&bytes));
        let actual = actual.unwrap_or_else(|| Digest::sha256(&bytes));
        if let Some(expected) = expected.filter(|expected| *expected != actual) {
            return Err(Error::blob(&expected, BlobFault::Digest { actual }));
        }
        let media_type =
            media_type::of_document(None, &bytes).map_err(|source| Error::model(&actual, source))?;
        Ok(Root { media_type, bytes, digest: actual })
    }

    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error> {
        let chosen = self.choose(platform)?;
        self.find_layers(chosen.bytes.clone(), &chosen.digest)?;
        Ok(chosen)
    }

    fn has_files(&self) -> bool {
        true
    }

    fn kept_as(&self, layer: &Descriptor) -> Result<Option<Descriptor>, Error> {
        let layers = self.layers()?;
        let Some(kept) = layers.iter().find(|kept| kept.blob == layer.digest().as_ref()) else {
            return Ok(None);
        };
        let digest: oci_spec::image::Digest = kept.diff_id.as_str().parse().map_err(|_| Error::Damaged {
            subject: self.describe(),
            reason: format!("its config has the diff_id {}", kept.diff_id),
        })?;
        Ok(Some(Descriptor::new(MediaType::ImageLayer, self.size(kept)?, digest)))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        self.open_blob(descriptor, None)
    }

    fn blob_of_files<'a>(
        &'a self,
        descriptor: &Descriptor,
        taker: &'a dyn FileTaker,
    ) -> Result<Box<dyn Read + Send + 'a>, Error> {
        self.open_blob(descriptor, Some(taker))
    }
}

impl ContainersStorage {
    fn open_blob<'a>(
        &'a self,
        descriptor: &Descriptor,
        taker: Option<&'a dyn FileTaker>,
    ) -> Result<Box<dyn Read + Send + 'a>, Error> {
        let digest = digest_of(descriptor)?;
        if let Some(file) = self.catalog.document(&digest, self.image()?)? {
            return Ok(Box::new(file));
        }
        let layers = self.layers()?;
        let Some(kept) = layers.iter().find(|kept| *kept.diff_id.digest() == digest) else {
            return Err(Error::BlobMissing { digest, place: self.describe() });
        };
        Ok(Box::new(self.open_layer(kept, taker)?))
    }
}
