//! One image as it is: its documents, layers and EROFS images, and for each what is missing and where it can come from.

use std::collections::BTreeSet;

use composefs::{digest::ObjectId, error::Category, name::StreamName, splitstream::ContentType};
use oci_spec::image::Descriptor;

use crate::{
    digest::{BlobDigest, ConfigDigest, DiffId, Digest, ManifestDigest},
    error::Error,
    ident,
    model::{Config, Manifest, descriptor_digest, media_type},
    pull::plan::LayerKind,
};

use super::{
    donor::{Donors, Offer},
    look::{Look, Tables},
};

/// What a unit of repair is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// An image or artifact.
    Manifest(ManifestDigest),
    /// A config that no manifest is here for, such as a sealed one.
    Config(ConfigDigest),
    /// A layer that no config is here for.
    Layer(DiffId),
}

/// Where a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whence {
    /// Where it belongs.
    Place,
    /// In an object that nothing leads to any more.
    Object,
    /// With a donor.
    Donor(usize),
}

/// A document's bytes.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    pub(super) whence: Whence,
}

/// Where a layer that is no good comes from.
#[derive(Clone, Debug)]
pub(super) enum Cure {
    /// It is good: the id of its stream.
    Whole(ObjectId),
    /// It is kept as it was shipped, in this object.
    Packed(ObjectId),
    /// A donor has it.
    Donor(Box<Offer>),
    /// Nobody has it.
    None,
}

/// A layer of an image.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// What the manifest says of it, or the donor.
    pub(super) descriptor: Option<Descriptor>,
    pub(super) kind: LayerKind,
    pub(super) key: Digest,
    pub(super) name: StreamName,
    pub(super) cure: Cure,
    /// Its objects that are no good.
    pub(super) bad: Vec<ObjectId>,
    /// Whether its entry leads to the stream that is good.
    pub(super) named: bool,
    /// What the streams of config and manifest name for it, if that will do.
    pub(super) by_config: Option<ObjectId>,
    pub(super) by_manifest: Option<ObjectId>,
}

/// An EROFS image that a config names.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) key: String,
    pub(super) id: ObjectId,
    pub(super) good: bool,
    pub(super) named: bool,
}

/// How an image's layers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Container,
    /// For another platform: layers as they are shipped.
    Foreign,
    Artifact,
}

/// One image as it is.
pub(super) struct Unit {
    pub(super) subject: Subject,
    /// What people call it.
    pub(super) names: Vec<String>,
    pub(super) kind: Kind,
    pub(super) manifest: Option<(Manifest, Text)>,
    pub(super) manifest_tables: Option<Tables>,
    pub(super) config_digest: Option<ConfigDigest>,
    pub(super) config: Option<Text>,
    pub(super) config_tables: Option<Tables>,
    pub(super) config_named: bool,
    /// Whether the image is kept as it was shipped.
    pub(super) shipped: bool,
    /// Whether the config of such an image is here as a blob.
    pub(super) blob_whole: bool,
    /// What the streams name besides, and that is no good.
    pub(super) extra_lost: BTreeSet<ObjectId>,
    pub(super) layers: Vec<Layer>,
    pub(super) images: Vec<Image>,
    /// What is lost for good, as far as can be seen.
    pub(super) lost: Vec<String>,
}

/// Looks at an image.
pub(super) fn examine(
    look: &Look<'_>,
    donors: &mut Donors<'_>,
    subject: &Subject,
    names: Vec<String>,
) -> Result<Unit, Error> {
    let mut unit = Unit {
        subject: subject.clone(),
        names,
        kind: Kind::Container,
        manifest: None,
        manifest_tables: None,
        config_digest: None,
        config: None,
        config_tables: None,
        config_named: false,
        shipped: false,
        blob_whole: true,
        extra_lost: BTreeSet::new(),
        layers: Vec::new(),
        images: Vec::new(),
        lost: Vec::new(),
    };
    match subject {
        Subject::Manifest(digest) => unit.look_at_manifest(look, donors, digest)?,
        Subject::Config(digest) => unit.look_at_config(look, donors, digest, None)?,
        Subject::Layer(_) => {}
    }
    unit.look_at_layers(look, donors)?;
    unit.look_at_images(look);
    unit.look_at_the_rest(look);
    Ok(unit)
}

impl Unit {
    /// The digest that notes of where it came from are kept under.
    fn image(&self) -> Option<&Digest> {
        match &self.subject {
            Subject::Manifest(digest) => Some(digest.digest()),
            Subject::Config(_) | Subject::Layer(_) => None,
        }
    }

    pub(super) fn describe(&self) -> String {
        match (&self.subject, self.names.first()) {
            (_, Some(name)) => name.clone(),
            (Subject::Manifest(digest), None) => format!("@{digest}"),
            (Subject::Config(digest), None) => format!("config {digest}"),
            (Subject::Layer(digest), None) => format!("layer {digest}"),
        }
    }

    fn text(
        look: &Look<'_>,
        donors: &mut Donors<'_>,
        image: Option<&Digest>,
        digest: &Digest,
        objects: &[ObjectId],
    ) -> Option<Text> {
        let here = objects.iter().find_map(|id| look.bytes_of(id, digest));
        if let Some(bytes) = here {
            return Some(Text { bytes, whence: Whence::Place });
        }
        if let Some(bytes) = look.find(digest) {
            return Some(Text { bytes, whence: Whence::Object });
        }
        let (donor, bytes) = donors.document(look.repo, image, digest)?;
        Some(Text { bytes, whence: Whence::Donor(donor) })
    }

    fn look_at_manifest(
        &mut self,
        look: &Look<'_>,
        donors: &mut Donors<'_>,
        digest: &ManifestDigest,
    ) -> Result<(), Error> {
        let entry = look.entry(&ident::manifest(digest)?);
        self.manifest_tables = entry.and_then(|id| look.tables(&id, Some(ContentType::OCI_MANIFEST)));
        let object = self.manifest_tables.as_ref().and_then(|tables| tables.stream.only_object().ok());
        let objects: Vec<ObjectId> = object.into_iter().collect();
        let text = Self::text(look, donors, Some(digest.digest()), digest.digest(), &objects);
        let Some(text) = text else {
            self.lost.push(format!("manifest {digest}"));
            return Ok(());
        };
        let manifest = Manifest::parse_as(text.bytes.clone(), digest.clone())
            .map_err(|source| Error::model(digest, source))?;
        let config = manifest.config_digest().map_err(|source| Error::model(digest, source.into()))?;
        self.kind = if manifest.is_container() { Kind::Container } else { Kind::Artifact };
        self.manifest = Some((manifest, text));
        let named =
            self.manifest_tables.as_ref().and_then(|tables| tables.named(&ident::config_key(&config)));
        self.look_at_config(look, donors, &config, named)
    }

    fn look_at_config(
        &mut self,
        look: &Look<'_>,
        donors: &mut Donors<'_>,
        digest: &ConfigDigest,
        named: Option<ObjectId>,
    ) -> Result<(), Error> {
        let entry = look.entry(&ident::config(digest)?);
        let tables: Vec<Tables> = named
            .into_iter()
            .chain(entry)
            .filter_map(|id| look.tables(&id, Some(ContentType::OCI_CONFIG)))
            .collect();
        let mut objects: Vec<ObjectId> =
            tables.iter().filter_map(|tables| tables.stream.only_object().ok()).collect();
        if self.kind == Kind::Container && entry.is_none() && self.is_foreign(look, digest)? {
            self.kind = Kind::Foreign;
        }
        let named = |tables: &Tables| tables.named(digest.as_str()).is_some();
        self.shipped = self.kind == Kind::Foreign || self.manifest_tables.as_ref().is_some_and(named);
        if self.shipped {
            let name = ident::blob(&BlobDigest::new(digest.digest().clone()))?;
            let blob = look.entry(&name);
            self.blob_whole = blob.is_some_and(|id| look.is_whole(&name, &id, &[ContentType::OCI_BLOB]));
            let blob = blob.and_then(|id| look.tables(&id, Some(ContentType::OCI_BLOB)));
            objects.extend(blob.and_then(|tables| tables.stream.only_object().ok()));
        }
        self.config_tables = tables.into_iter().next();
        self.config_named = self.config_tables.as_ref().is_some_and(|tables| entry == Some(tables.id));
        self.config_digest = Some(digest.clone());
        let image = self.image().cloned();
        self.config = Self::text(look, donors, image.as_ref(), digest.digest(), &objects);
        if self.config.is_none() {
            self.lost.push(format!("config {digest}"));
        }
        Ok(())
    }

    /// Tells whether an image's layers are kept as they are shipped: then its config is kept as a blob, too.
    fn is_foreign(&self, look: &Look<'_>, config: &ConfigDigest) -> Result<bool, Error> {
        let has = |digest: &Digest| -> Result<bool, Error> {
            let name = ident::blob(&BlobDigest::new(digest.clone()))?;
            Ok(look.repo.entry(Category::Streams, name.as_str()).is_ok_and(|id| id.is_some()))
        };
        if let Some(tables) = &self.manifest_tables {
            // One that is unpacked here as well has the names of its layers in the config's stream.
            let named = tables.named(&ident::config_key(config));
            let named = named.and_then(|id| look.tables(&id, Some(ContentType::OCI_CONFIG)));
            let unpacked = named.is_some_and(|tables| !tables.refs().is_empty());
            return Ok(tables.named(config.as_str()).is_some() && !unpacked);
        }
        let Some((manifest, _)) = &self.manifest else { return Ok(false) };
        if has(config.digest())? {
            return Ok(true);
        }
        for layer in manifest.layers() {
            // What has a name is unpacked; blobs are there for others as well.
            if let Ok(digest) = descriptor_digest(layer)
                && self.names.is_empty()
                && has(digest.digest())?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The layers that the documents want: descriptor, kind, key, name.
    fn wanted(&self) -> Result<Vec<(Option<Descriptor>, LayerKind, Digest)>, Error> {
        let mut wanted = Vec::new();
        if let Subject::Layer(diff_id) = &self.subject {
            return Ok(vec![(None, LayerKind::Tar, diff_id.digest().clone())]);
        }
        let descriptors = self.manifest.as_ref().map(|(manifest, _)| manifest.layers().to_vec());
        if self.kind == Kind::Container {
            let (Some(digest), Some(text)) = (&self.config_digest, &self.config) else { return Ok(wanted) };
            let config = Config::parse_as(text.bytes.clone(), digest.clone())
                .map_err(|source| Error::model(digest, source))?;
            for (at, diff_id) in config.diff_ids().iter().enumerate() {
                let descriptor = descriptors.as_ref().and_then(|all| all.get(at)).cloned();
                wanted.push((descriptor, LayerKind::Tar, diff_id.digest().clone()));
            }
            self.also_shipped(descriptors.unwrap_or_default(), &mut wanted);
            return Ok(wanted);
        }
        for descriptor in descriptors.into_iter().flatten() {
            let digest = descriptor_digest(&descriptor)
                .map_err(|source| Error::model(descriptor.digest(), source.into()))?;
            let plain = media_type::tar_layer(descriptor.media_type().as_ref())
                == Some(media_type::Compression::None);
            let kind = match self.kind {
                Kind::Foreign => LayerKind::Packed,
                _ if plain => LayerKind::OpaqueTar,
                _ => LayerKind::Blob,
            };
            wanted.push((Some(descriptor), kind, digest.digest().clone()));
        }
        Ok(wanted)
    }

    /// Adds the blobs of a container that is kept as it was shipped, too: its manifest's stream names them.
    fn also_shipped(
        &self,
        descriptors: Vec<Descriptor>,
        wanted: &mut Vec<(Option<Descriptor>, LayerKind, Digest)>,
    ) {
        let Some(tables) = &self.manifest_tables else { return };
        for descriptor in descriptors {
            let Ok(digest) = descriptor_digest(&descriptor) else { continue };
            let digest = digest.digest().clone();
            let own = wanted.iter().any(|(_, kind, key)| *kind == LayerKind::Tar && *key == digest);
            if tables.named(digest.as_str()).is_some() && !own {
                wanted.push((Some(descriptor), LayerKind::Packed, digest));
            }
        }
    }

    fn look_at_layers(&mut self, look: &Look<'_>, donors: &mut Donors<'_>) -> Result<(), Error> {
        for (descriptor, kind, key) in self.wanted()? {
            let name = match kind {
                LayerKind::Packed => ident::blob(&BlobDigest::new(key.clone()))?,
                _ => ident::layer(&DiffId::new(key.clone()))?,
            };
            let layer = self.look_at_layer(look, donors, descriptor.as_ref(), kind, key, name)?;
            if matches!(layer.cure, Cure::None) {
                let what = if kind == LayerKind::Packed { "blob" } else { "layer" };
                self.lost.push(format!("{what} {}", layer.key));
            }
            self.layers.push(layer);
        }
        Ok(())
    }

    fn look_at_layer(
        &self,
        look: &Look<'_>,
        donors: &mut Donors<'_>,
        descriptor: Option<&Descriptor>,
        kind: LayerKind,
        key: Digest,
        name: StreamName,
    ) -> Result<Layer, Error> {
        let kinds: &[ContentType] = match kind {
            LayerKind::Tar => &[ContentType::OCI_LAYER, ContentType::NONE],
            LayerKind::OpaqueTar | LayerKind::Blob => &[],
            LayerKind::Packed => &[ContentType::OCI_BLOB],
        };
        let entry = look.entry(&name);
        let by_name = |tables: &Option<Tables>| tables.as_ref().and_then(|tables| tables.named(key.as_str()));
        let candidates: Vec<ObjectId> = [by_name(&self.config_tables), by_name(&self.manifest_tables), entry]
            .into_iter()
            .flatten()
            .collect();
        let chosen = candidates.iter().copied().find(|id| look.is_whole(&name, id, kinds));
        let mut bad: Vec<ObjectId> = candidates.iter().flat_map(|id| look.bad_of(id)).collect();
        bad.sort_unstable();
        bad.dedup();
        let mut cure = chosen.map_or(Cure::None, Cure::Whole);
        let mut used = descriptor.cloned();
        if chosen.is_none() {
            let packed = match (descriptor, kind) {
                (Some(descriptor), LayerKind::Tar | LayerKind::OpaqueTar | LayerKind::Blob) => {
                    packed(look, descriptor)?
                }
                _ => None,
            };
            if let Some(object) = packed {
                cure = Cure::Packed(object);
            } else if let Some(offer) = donors.blob(look.repo, self.image(), &key) {
                used = Some(offer.descriptor.clone());
                cure = Cure::Donor(Box::new(offer));
            }
        }
        let named = chosen.is_some() && entry == chosen;
        let will_do = |id: &ObjectId| chosen.as_ref() == Some(id);
        // An image that is kept as it was shipped, too, names its blobs; a plain tar has one digest for both.
        let blob_will_do = |id: &ObjectId| {
            will_do(id) || chosen.is_some() && look.is_whole(&name, id, &[ContentType::OCI_BLOB])
        };
        let by_config = by_name(&self.config_tables).filter(will_do);
        let by_manifest = by_name(&self.manifest_tables).filter(blob_will_do);
        Ok(Layer { descriptor: used, kind, key, name, cure, bad, named, by_config, by_manifest })
    }

    fn look_at_images(&mut self, look: &Look<'_>) {
        let Some(tables) = self.config_tables.as_ref().filter(|_| self.kind == Kind::Container) else {
            return;
        };
        for (key, id) in tables.refs() {
            if !ident::is_image_key(&key) {
                continue;
            }
            let named = look.repo.image_entry(&id).is_ok_and(|entry| entry == Some(id));
            self.images.push(Image { key, id, good: look.good(&id), named });
        }
    }

    /// Looks at what the streams name besides layers and images.
    fn look_at_the_rest(&mut self, look: &Look<'_>) {
        let tables = [&self.manifest_tables, &self.config_tables];
        let all = tables.into_iter().flatten().flat_map(Tables::refs);
        let lost = |id: &ObjectId| {
            !look.good(id) || look.tables(id, None).is_some_and(|tables| !look.has_all(&tables.stream))
        };
        self.extra_lost = all.map(|(_, id)| id).filter(lost).collect();
    }

    /// Tells whether the layers can be merged: those that come count.
    pub(super) fn has_layers(&self) -> bool {
        self.config.is_some() && self.layers.iter().all(|layer| !matches!(layer.cure, Cure::None))
    }

    /// Tells whether the config's stream must be written anew, as far as can be told before the layers are here.
    pub(super) fn config_changes(&self) -> bool {
        let Some(tables) = &self.config_tables else { return true };
        let object = self.config.as_ref().is_some_and(|text| text.whence != Whence::Place);
        let of_config = |layer: &&Layer| {
            let whole = matches!(layer.cure, Cure::Whole(_));
            whole && self.kind != Kind::Foreign && layer.kind != LayerKind::Packed
        };
        object
            || !self.blob_whole
            || self.layers.iter().filter(of_config).any(|layer| layer.by_config.is_none())
            || self.kind == Kind::Foreign && tables.refs().iter().any(|(key, id)| !self.keeps(key, id))
    }

    /// As [`Unit::config_changes`], of the manifest's stream.
    pub(super) fn manifest_changes(&self) -> bool {
        if self.manifest.is_none() {
            return false;
        }
        let Some(tables) = &self.manifest_tables else { return true };
        let text = self.manifest.as_ref().is_some_and(|(_, text)| text.whence != Whence::Place);
        let config = self.config_digest.as_ref().and_then(|digest| tables.named(&ident::config_key(digest)));
        let config = config != self.config_tables.as_ref().map(|tables| tables.id);
        let whole = |layer: &&Layer| matches!(layer.cure, Cure::Whole(_));
        let lost = |(key, id): &(String, ObjectId)| {
            key.parse::<Digest>().is_ok()
                && !self.keeps(key, id)
                && self.layers.iter().all(|layer| layer.key.as_str() != key)
        };
        text || config
            || tables.refs().iter().any(lost)
            || self.layers.iter().filter(whole).any(|layer| layer.by_manifest.is_none())
    }

    /// Tells whether a name stays in a stream that is written anew, though it is none of the image's own: an image for
    /// elsewhere may be unpacked here, one that is unpacked may be kept as it was shipped.
    pub(super) fn keeps(&self, key: &str, id: &ObjectId) -> bool {
        let own = |layer: &Layer| layer.key.as_str() == key;
        !self.layers.iter().any(own) && !self.extra_lost.contains(id)
    }
}

/// Finds the object with a blob's bytes.
fn packed(look: &Look<'_>, descriptor: &Descriptor) -> Result<Option<ObjectId>, Error> {
    let Ok(digest) = descriptor_digest(descriptor) else { return Ok(None) };
    let name = ident::blob(&digest)?;
    let stream = look.entry(&name).filter(|id| look.is_whole(&name, id, &[ContentType::OCI_BLOB]));
    let tables = stream.and_then(|id| look.tables(&id, Some(ContentType::OCI_BLOB)));
    Ok(tables.and_then(|tables| tables.stream.only_object().ok()))
}
