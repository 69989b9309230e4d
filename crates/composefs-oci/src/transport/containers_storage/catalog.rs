//! The images of all stores, and which of them a name means.

use std::{collections::HashMap, fs::File, io, path::Path};

use crate::{
    digest::Digest,
    error::Error,
    reference::{NameError, RegistryReference},
};

use super::{
    StorageError,
    config::StoreConfig,
    store::{ImageRecord, LayerRecord, MANIFEST, Store},
};

/// The fewest digits of an id that mean an image.
const SHORTEST_ID: usize = 3;
/// How many names an error shows.
const SHOWN: usize = 20;

/// The configured store, then those that podman only reads, and the images of each.
pub(super) struct Catalog(Vec<(Store, Vec<ImageRecord>)>);

/// Where an image stands in a catalog.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    store: usize,
    image: usize,
}

/// An image, and the store it is in.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    at: Place,
    pub(super) store: &'a Store,
    pub(super) image: &'a ImageRecord,
}

/// What a text means.
pub(super) struct Meaning {
    pub(super) at: Place,
    /// The name in the text, as it is written out.
    pub(super) name: Option<RegistryReference>,
    /// Whether the text has an id.
    pub(super) by_id: bool,
    /// The manifest's digest, if the text has one.
    pub(super) digest: Option<Digest>,
}

impl Catalog {
    /// Opens the stores that are there and reads their records of images.
    pub(super) fn open(config: &StoreConfig) -> Result<Self, Error> {
        let failed = |root: &Path| {
            let place = root.display().to_string();
            move |error: StorageError| Error::storage(place, error)
        };
        let mut stores = Vec::new();
        stores.extend(Store::open(config).map_err(failed(&config.graph_root))?);
        for root in &config.additional {
            stores.extend(Store::open_additional(root, config).map_err(failed(root))?);
        }
        if stores.is_empty() {
            return Err(Error::storage(config.graph_root.display(), StorageError::NoStore));
        }
        let with_images = |store: Store| store.images().map(|images| (store, images));
        Ok(Self(stores.into_iter().map(with_images).collect::<Result<_, _>>()?))
    }

    fn all(&self) -> impl Iterator<Item = Found<'_>> {
        self.0.iter().enumerate().flat_map(|(number, (store, images))| {
            let place = move |image| Place { store: number, image };
            images.iter().enumerate().map(move |(at, image)| Found { at: place(at), store, image })
        })
    }

    /// Returns the image at a place of this catalog.
    pub(super) fn image(&self, at: Place) -> Option<Found<'_>> {
        let (store, images) = self.0.get(at.store)?;
        Some(Found { at, store, image: images.get(at.image)? })
    }

    /// Returns a store by its number, as layers have it.
    pub(super) fn store(&self, number: usize) -> Option<&Store> {
        self.0.get(number).map(|(store, _)| store)
    }

    /// Returns the driver of the first store.
    pub(super) fn driver(&self) -> Option<&'static str> {
        self.0.first().map(|(store, _)| store.driver())
    }

    /// Returns names to show where the right one was not found.
    pub(super) fn names(&self) -> Vec<String> {
        self.all().flat_map(|found| found.image.names()).take(SHOWN).cloned().collect()
    }

    /// Finds the image that `text` means: a name, perhaps with a digest, or an id, perhaps after a name and `@`.
    pub(super) fn find(&self, text: &str) -> Result<Meaning, String> {
        if let (name, Some(id)) = name_and_id(text) {
            return self.by_id(id).map(|found| Meaning { at: found.at, name, by_id: true, digest: None });
        }
        let reference = text.parse::<RegistryReference>();
        if let Ok(reference) = &reference {
            let local = format!("localhost/{text}").parse().ok();
            // What was built here and has no registry in its name has this one.
            let local =
                local.filter(|_| !text.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':'])));
            for reference in [Some(reference), local.as_ref()].into_iter().flatten() {
                if let Some(found) = self.by_name(reference) {
                    let digest = reference.digest().map(|digest| digest.digest().clone());
                    return Ok(Meaning { at: found.at, name: Some(reference.clone()), by_id: false, digest });
                }
            }
        }
        if is_id(text) {
            return self.by_id(text).map(|found| Meaning {
                at: found.at,
                name: None,
                by_id: true,
                digest: None,
            });
        }
        Err(match reference {
            Ok(reference) => format!("the store has no image called {reference}"),
            Err(NameError::LooksLikeId(id)) => format!("the store has no image of the id {id}"),
            Err(error) => error.to_string(),
        })
    }

    fn by_name(&self, reference: &RegistryReference) -> Option<Found<'_>> {
        let Some(digest) = reference.digest() else {
            let name = reference.to_string();
            return self.all().find(|found| found.image.names().contains(&name));
        };
        let repository = reference.name();
        let of_repository = |name: &String| {
            name.strip_prefix(&repository).is_some_and(|rest| rest.starts_with(':') || rest.starts_with('@'))
        };
        self.all().find(|found| {
            manifest_document(found.image, digest.digest()).is_some()
                && found.image.names().iter().any(of_repository)
        })
    }

    fn by_id(&self, id: &str) -> Result<Found<'_>, String> {
        if let Some(found) = self.all().find(|found| found.image.id == id) {
            return Ok(found);
        }
        let mut fitting = self.all().filter(|found| found.image.id.starts_with(id));
        let first = fitting.next().ok_or_else(|| format!("the store has no image of the id {id}"))?;
        if fitting.any(|other| other.image.id != first.image.id) {
            return Err(format!("several images have ids that begin with {id}"));
        }
        Ok(first)
    }

    /// Finds the image whose manifest has this digest, `first` before all others.
    pub(super) fn image_of<'a>(&'a self, digest: &Digest, first: Found<'a>) -> Option<Found<'a>> {
        let mut images = std::iter::once(first).chain(self.all());
        images.find(|found| manifest_document(found.image, digest).is_some())
    }

    /// Opens the manifest, index or config of this digest; `None` if no image has it.
    pub(super) fn document(&self, digest: &Digest, first: Found<'_>) -> Result<Option<File>, Error> {
        for found in std::iter::once(first).chain(self.all()) {
            let documents = found.image.documents();
            let config = documents.iter().find(|name| *name == digest.as_str()).cloned();
            let Some(name) = manifest_document(found.image, digest).or(config) else { continue };
            return found.store.document(found.image, &name).map(Some).map_err(|error| match error {
                Error::Source { source, place, .. } if source.kind() == io::ErrorKind::NotFound => {
                    Error::BlobMissing { digest: digest.clone(), place }
                }
                other => other,
            });
        }
        Ok(None)
    }

    /// Returns the layers below and with `top`, the lowest first, at most `max`, each with its store's number.
    pub(super) fn chain(&self, top: Option<&str>, max: usize) -> Result<Vec<(usize, LayerRecord)>, Error> {
        let mut by_id = HashMap::new();
        for (number, (store, _)) in self.0.iter().enumerate() {
            for layer in store.layers()? {
                by_id.entry(layer.id.clone()).or_insert((number, layer));
            }
        }
        let place =
            || self.0.first().map_or_else(String::new, |(store, _)| store.root().display().to_string());
        let mut chain = Vec::new();
        let mut next = top.filter(|id| !id.is_empty()).map(str::to_owned);
        while let Some(id) = next {
            // Each is taken once, so that a circle ends.
            let (store, layer) = by_id.remove(&id).ok_or_else(|| {
                let seen = chain.iter().any(|(_, layer): &(_, LayerRecord)| layer.id == id);
                let fault = if seen { StorageError::Endless(id) } else { StorageError::LayerMissing(id) };
                Error::storage(place(), fault)
            })?;
            if chain.len() == max {
                return Err(Error::storage(place(), StorageError::Endless(layer.id)));
            }
            next = layer.parent.clone().filter(|id| !id.is_empty());
            chain.push((store, layer));
        }
        chain.reverse();
        Ok(chain)
    }
}

/// Returns the name under which an image keeps the manifest of this digest.
fn manifest_document(image: &ImageRecord, digest: &Digest) -> Option<String> {
    let named = format!("manifest-{digest}");
    if image.documents().contains(&named) {
        return Some(named);
    }
    (image.manifest_digest() == Some(digest.as_str())).then(|| MANIFEST.to_owned())
}

/// Returns the name in a text, and the id if there is one that can be nothing else.
pub(super) fn name_and_id(text: &str) -> (Option<RegistryReference>, Option<&str>) {
    match id_of(text) {
        Some(id) => (text.rsplit_once('@').and_then(|(name, _)| name.parse().ok()), Some(id)),
        None => (text.parse().ok(), None),
    }
}

/// Returns the id in a text that can only mean one: `[NAME]@ID`, `sha256:ID`, or 64 digits.
fn id_of(text: &str) -> Option<&str> {
    let bare = |text: &'_ str| text.len() == 64 && is_id(text);
    match text.rsplit_once('@') {
        Some(("", id)) => Some(id.strip_prefix("sha256:").unwrap_or(id)),
        Some((_, id)) => (!id.contains(':')).then_some(id),
        None => text.strip_prefix("sha256:").filter(|id| bare(id)).or(Some(text).filter(|id| bare(id))),
    }
}

fn is_id(text: &str) -> bool {
    text.len() >= SHORTEST_ID && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names() {
        let id = "5c118c0c883cd3465ab1cb8891dce07c4f727b368892fcb024e48b00d6285645";
        assert_eq!(id_of(id), Some(id));
        assert_eq!(id_of(&format!("sha256:{id}")), Some(id));
        assert_eq!(id_of(&format!("@sha256:{id}")), Some(id));
        assert_eq!(id_of("@5c1"), Some("5c1"));
        assert_eq!(id_of("localhost/x:v1@5c1"), Some("5c1"));
        assert_eq!(id_of(&format!("localhost/x@sha256:{id}")), None);
        assert_eq!(id_of("cafe"), None);
        assert_eq!(id_of("sha256:12"), None);
    }
}
