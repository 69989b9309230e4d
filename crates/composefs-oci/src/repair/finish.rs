//! The end of an image's repair: its images, the streams of its documents, and the names, in one commit.

use composefs::{
    digest::ObjectId,
    error::chain,
    progress::{Event, Observer},
    repo::{Commit, Writer},
    splitstream::ContentType,
};

use crate::{
    digest::{BlobDigest, ConfigDigest, DiffId, Digest},
    error::Error,
    ident,
    import::streams::DocumentStream,
    pull::plan::LayerKind,
    rootfs::image::{RootfsOptions, store_images, tree},
};

use super::{
    RepairOptions, RepairReport,
    image::Merge,
    left::Left,
    look::{Look, Tables},
    subjects::Index,
    unit::{Cure, Kind, Layer, Unit},
};

/// Which stream names are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Document {
    Config,
    Manifest,
}

/// Names in a stream.
type Refs = Vec<(String, ObjectId)>;

/// Builds, writes and names what an image lacks, from layers that are here now. Returns the objects that are good by it.
pub(super) fn image(
    writer: &Writer,
    unit: &Unit,
    options: &RepairOptions,
    report: &mut RepairReport,
    left: &mut Vec<Left>,
    observer: &dyn Observer,
) -> Result<Vec<ObjectId>, Error> {
    let mut finish =
        Finish { writer, unit, options, report, left, mended: Vec::new(), commit: writer.begin() };
    finish.name_layers();
    let images = finish.images(observer)?;
    if let Some(config) = finish.config(images)? {
        finish.manifest(config)?;
    }
    let Finish { commit, mended, .. } = finish;
    commit.finish()?;
    Ok(mended)
}

struct Finish<'a> {
    writer: &'a Writer,
    unit: &'a Unit,
    options: &'a RepairOptions,
    report: &'a mut RepairReport,
    left: &'a mut Vec<Left>,
    mended: Vec<ObjectId>,
    commit: Commit<'a>,
}

impl Finish<'_> {
    fn name_layers(&mut self) {
        for layer in &self.unit.layers {
            if let (Cure::Whole(id), false) = (&layer.cure, layer.named) {
                self.commit.stream(layer.name.clone(), *id);
            }
        }
    }

    /// The layers, if all of them are whole.
    fn layers(&self) -> Option<Vec<(DiffId, ObjectId)>> {
        let whole = |layer: &Layer| match layer.cure {
            Cure::Whole(id) => Some((DiffId::new(layer.key.clone()), id)),
            _ => None,
        };
        self.unit.layers.iter().filter(|layer| layer.kind != LayerKind::Packed).map(whole).collect()
    }

    fn leave(&mut self, subject: &str, reason: String, next: &str) {
        self.left.push(Left::new(format!("{subject} of {}", self.unit.describe()), reason, next));
    }

    /// Builds the images that are no good, and names all; returns the names for the config's stream.
    fn images(&mut self, observer: &dyn Observer) -> Result<Refs, Error> {
        let unit = self.unit;
        let (Some(config), true) = (&unit.config_digest, unit.kind == Kind::Container) else {
            return Ok(Refs::new());
        };
        let mut refs = Refs::new();
        for image in &unit.images {
            let mut good = image.good;
            if !good && let Some(layers) = self.layers() {
                good = self.build(config, &layers, &image.key, &image.id, observer)?;
            }
            if good {
                self.commit.image(image.id);
            }
            // One that is lost stays named: it may come back.
            refs.push((image.key.clone(), image.id));
        }
        let forgotten = unit.config_tables.is_none() && unit.manifest.is_some() && unit.config.is_some();
        if forgotten && let Some(layers) = self.layers() {
            refs.extend(self.build_afresh(config, &layers, observer)?);
        }
        Ok(refs)
    }

    fn build(
        &mut self,
        config: &ConfigDigest,
        layers: &[(DiffId, ObjectId)],
        key: &str,
        id: &ObjectId,
        observer: &dyn Observer,
    ) -> Result<bool, Error> {
        let name = id.to_hex();
        observer.event(&Event::Begin { what: "image", name: &name, total: None });
        let merge = Merge { writer: self.writer, config, layers, mode: self.options.mode };
        let built = merge.image(key, id);
        observer.event(&Event::Done { name: &name });
        match built {
            Ok(true) => {
                self.report.images_built += 1;
                self.mended.push(*id);
                return Ok(true);
            }
            Ok(false) => self.leave(
                &format!("image {id}"),
                "its layers make another image: it was made by other rules".to_owned(),
                "`cfsctl oci pull` makes an image by today's rules",
            ),
            Err(Error::Repository(error)) if !error.is_missing() => return Err(error.into()),
            Err(error) => {
                self.leave(&format!("image {id}"), chain(&error), "mend its layers first");
            }
        }
        Ok(false)
    }

    /// The images of the repository's formats, where nobody knows any more which there were.
    fn build_afresh(
        &mut self,
        config: &ConfigDigest,
        layers: &[(DiffId, ObjectId)],
        observer: &dyn Observer,
    ) -> Result<Refs, Error> {
        let options = RootfsOptions::default().mode(self.options.mode);
        let formats: Vec<_> = self.writer.erofs_formats().iter().collect();
        let stored = tree(self.writer, config, layers, &options)
            .and_then(|tree| store_images(self.writer, &tree, &formats, observer));
        match stored {
            Ok(images) => {
                let mut refs = Refs::new();
                for (version, id) in images {
                    self.report.images_built += 1;
                    self.commit.image(id);
                    self.mended.push(id);
                    refs.push((ident::image_key(version).to_owned(), id));
                }
                Ok(refs)
            }
            Err(Error::Repository(error)) if !error.is_missing() => Err(error.into()),
            Err(error) => {
                self.leave("image", chain(&error), "mend its layers first");
                Ok(Refs::new())
            }
        }
    }

    /// The names of layers for a stream: of those that are no good the one the stream had.
    fn layer_refs(&self, tables: Option<&Tables>, of: Document) -> Option<Refs> {
        let mut refs = Refs::new();
        let all = self.unit.kind == Kind::Foreign || of == Document::Manifest;
        for layer in self.unit.layers.iter().filter(|layer| all || layer.kind != LayerKind::Packed) {
            let key = layer.key.as_str();
            let known = match of {
                Document::Config => layer.by_config,
                Document::Manifest => layer.by_manifest,
            };
            let id = match (known, &layer.cure) {
                (Some(known), _) => known,
                (None, Cure::Whole(id)) => *id,
                (None, _) => tables.and_then(|tables| tables.named(key))?,
            };
            if refs.iter().all(|(known, _)| known != key) {
                refs.push((key.to_owned(), id));
            }
        }
        Some(refs)
    }

    /// What a stream names besides, and still may.
    fn others(&self, tables: Option<&Tables>, refs: &Refs) -> Refs {
        let mut others = tables.map(Tables::refs).unwrap_or_default();
        others.retain(|(key, id)| {
            let image = ident::is_image_key(key) && self.unit.kind == Kind::Container;
            !image && self.unit.keeps(key, id) && refs.iter().all(|(known, _)| known != key)
        });
        others
    }

    fn store(
        &mut self,
        content_type: ContentType,
        bytes: &[u8],
        refs: &[(String, ObjectId)],
        subject: &dyn std::fmt::Display,
    ) -> Result<ObjectId, Error> {
        let object = self.writer.store_bytes(bytes)?.id;
        let stream = DocumentStream { content_type, object, size: bytes.len() as u64, named_refs: refs };
        let id = stream.store(self.writer, subject)?;
        self.mended.extend([object, id]);
        Ok(id)
    }

    /// Has the config's stream, with the names as they are now; nothing if it is lost.
    fn config(&mut self, images: Refs) -> Result<Option<ObjectId>, Error> {
        let unit = self.unit;
        let (Some(digest), Some(text)) = (&unit.config_digest, &unit.config) else { return Ok(None) };
        let name = ident::config(digest)?;
        let tables = unit.config_tables.as_ref();
        let mut refs = Refs::new();
        if unit.kind == Kind::Foreign {
            refs = self.others(tables, &refs);
        } else {
            let Some(layers) = self.layer_refs(tables, Document::Config) else { return Ok(None) };
            refs = layers;
            refs.extend(images);
            let others = self.others(tables, &refs);
            refs.extend(others);
            if let Some(layers) = self.layers().filter(|_| unit.kind == Kind::Container) {
                ident::sort_config_refs(&mut refs, &layers);
            }
        }
        let same = |tables: &&Tables| {
            let mut have = tables.refs();
            let mut want = refs.clone();
            have.sort();
            want.sort();
            have == want
        };
        let id = match tables.filter(same) {
            Some(tables) => {
                self.mended.push(self.writer.store_bytes(&text.bytes)?.id);
                tables.id
            }
            None => {
                self.report.streams_rewritten += 1;
                self.store(ContentType::OCI_CONFIG, &text.bytes, &refs, &name)?
            }
        };
        if unit.shipped {
            let blob = ident::blob(&BlobDigest::new(digest.digest().clone()))?;
            let stream = self.store(ContentType::OCI_BLOB, &text.bytes, &[], &blob)?;
            self.commit.stream(blob, stream);
        }
        if unit.kind != Kind::Foreign {
            self.commit.stream(name, id);
        }
        Ok(Some(id))
    }

    fn manifest(&mut self, config: ObjectId) -> Result<(), Error> {
        let unit = self.unit;
        let (Some((manifest, text)), Some(digest)) = (&unit.manifest, &unit.config_digest) else {
            return Ok(());
        };
        let name = ident::manifest(manifest.digest())?;
        let tables = unit.manifest_tables.as_ref();
        let Some(layers) = self.layer_refs(tables, Document::Manifest) else { return Ok(()) };
        let mut refs = vec![(ident::config_key(digest), config)];
        if unit.shipped {
            let blob = self.store(ContentType::OCI_BLOB, &text_of(unit), &[], &name)?;
            refs.push((digest.to_string(), blob));
        }
        refs.extend(layers);
        let others = self.others(tables, &refs);
        refs.extend(others);
        let id = match tables.filter(|tables| refs.iter().all(|(key, id)| tables.named(key) == Some(*id))) {
            Some(tables) => {
                self.mended.push(self.writer.store_bytes(&text.bytes)?.id);
                tables.id
            }
            None => {
                self.report.streams_rewritten += 1;
                self.store(ContentType::OCI_MANIFEST, &text.bytes, &refs, &name)?
            }
        };
        self.commit.stream(name, id);
        Ok(())
    }
}

fn text_of(unit: &Unit) -> Vec<u8> {
    unit.config.as_ref().map(|text| text.bytes.clone()).unwrap_or_default()
}

/// Has an index's stream, with the manifests as they are now.
pub(super) fn index(
    writer: &Writer,
    look: &Look<'_>,
    digest: &Digest,
    index: &Index,
    report: &mut RepairReport,
) -> Result<Vec<ObjectId>, Error> {
    let Some(bytes) = &index.bytes else { return Ok(Vec::new()) };
    let name = ident::index(digest)?;
    let entry = look.entry(&name);
    let tables = entry.and_then(|id| look.tables(&id, Some(ContentType::OCI_INDEX)));
    let mut refs = Refs::new();
    for child in &index.children {
        let key = ident::manifest_key(child);
        // An older stream of a manifest will do while all it names is good.
        let whole = |id: &ObjectId| {
            let tables = look.tables(id, Some(ContentType::OCI_MANIFEST));
            tables.is_some_and(|tables| tables.refs().iter().all(|(_, id)| look.good(id)))
        };
        let known = tables.as_ref().and_then(|tables| tables.named(&key)).filter(whole);
        let id = known.or(look.entry(&ident::manifest(child)?));
        refs.extend(id.map(|id| (key, id)));
    }
    let object = writer.store_bytes(bytes)?.id;
    if tables.is_some_and(|tables| refs.iter().all(|(key, id)| tables.named(key) == Some(*id))) {
        return Ok(vec![object]);
    }
    let size = bytes.len() as u64;
    let stream = DocumentStream { content_type: ContentType::OCI_INDEX, object, size, named_refs: &refs };
    let id = stream.store(writer, &name)?;
    report.streams_rewritten += 1;
    let mut commit = writer.begin();
    commit.stream(name, id);
    commit.finish()?;
    Ok(vec![object, id])
}
