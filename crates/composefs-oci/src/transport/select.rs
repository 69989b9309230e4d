//! Which manifest of an index is meant.
//!
//! # Format
//! `docs/formats/oci.md`, section 6; `docs/formats/transports.md`, section 8.

use oci_spec::image::{Descriptor, ImageIndex};

use crate::{
    digest::Digest,
    error::Error,
    model::{CONFIG_MAX, MANIFEST_MAX, Manifest, media_type, parse_index, platform::Platform},
    reference::Select,
};

use super::{Chosen, Root, digest_of};

/// The annotation with an image's name.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Says of an index's entry that its layers are compressed with zstd.
const ZSTD: &str = "io.github.containers.compression.zstd";
/// The most manifests that are read to learn their platform.
const READ_MAX: usize = 64;

/// Reads a document whole, checked: descriptor and limit in bytes.
pub type ReadDocument<'a> = dyn Fn(&Descriptor, u64) -> Result<Vec<u8>, Error> + 'a;

/// Finds the manifest that `select` and `platform` mean; `name` is the reference in messages.
///
/// # Errors
/// [`Error::NoSuchImage`] with what is there, [`Error::MediaType`], [`Error::Model`], and what `read` gives.
pub fn choose(
    index: &ImageIndex,
    select: &Select,
    platform: &Platform,
    name: &str,
    read: &ReadDocument<'_>,
) -> Result<Chosen, Error> {
    let all = index.manifests();
    let candidates = selected(index, select);
    let nothing =
        |reason: String| Error::NoSuchImage { reference: name.to_owned(), reason, present: list(index) };
    if candidates.is_empty() {
        // Perhaps the digest is one of a nested index.
        if let Select::Digest(digest) = select
            && let Some(child) = nested_by_digest(all, digest.digest(), read)?
        {
            return take(&child, None, read);
        }
        return Err(nothing(absent(select)));
    }
    let mut search = Search::new(platform);
    let mut only = None;
    for descriptor in &candidates {
        let children = expand(descriptor, read)?;
        search.look_at(&children, read)?;
        if let [child] = &children[..] {
            only = Some(child.clone());
        }
    }
    if let Some(best) = search.best {
        return take(&best, None, read);
    }
    // What was named and is one manifest is meant, whatever it was made for.
    let named = !matches!(select, Select::Any);
    match (&candidates[..], only) {
        ([_], Some(child)) if named || all.len() == 1 => {
            let what = search.offered.first().cloned().unwrap_or_default();
            let warning = match select {
                // There is no other one of this digest.
                Select::Digest(_) if what != ARTIFACT => {
                    Some(format!("{name} is an image for {what}, not for {platform}"))
                }
                _ => foreign(name, &what, platform)?,
            };
            take(&child, warning, read)
        }
        _ => Err(search.nothing(name)),
    }
}

/// Finds the manifest for a platform in what a reference names; `name` is that reference in messages.
///
/// # Errors
/// [`Error::NoSuchImage`] with the platforms there are, [`Error::MediaType`], [`Error::Model`], and what `read` gives.
pub fn choose_in(
    root: &Root,
    platform: &Platform,
    name: &str,
    read: &ReadDocument<'_>,
) -> Result<Chosen, Error> {
    if !media_type::is_index(&root.media_type) {
        let (distance, what) = distance_of_manifest(root.bytes.clone(), &root.digest, platform, read)?;
        let warning = if distance.is_none() { foreign(name, &what, platform)? } else { None };
        return Ok(Chosen { bytes: root.bytes.clone(), digest: root.digest.clone(), warning });
    }
    let index = parse_index(&root.bytes).map_err(|source| Error::model(&root.digest, source))?;
    let mut search = Search::new(platform);
    search.look_at(index.manifests(), read)?;
    match search.best {
        Some(best) => take(&best, None, read),
        None => Err(search.nothing(name)),
    }
}

/// Says that the one image there is was made for something else than this machine; refuses it for any other platform,
/// which somebody has asked for.
///
/// # Errors
/// [`Error::NoSuchImage`].
pub(super) fn foreign(name: &str, what: &str, platform: &Platform) -> Result<Option<String>, Error> {
    if what == ARTIFACT {
        return Ok(None);
    }
    if *platform == Platform::native() {
        return Ok(Some(format!("{name} is an image for {what}, this machine is {platform}")));
    }
    let reason = format!("nothing here is for {platform}");
    Err(Error::NoSuchImage { reference: name.to_owned(), reason, present: vec![what.to_owned()] })
}

/// The search for the manifest that is nearest to a platform.
struct Search<'a> {
    platform: &'a Platform,
    best: Option<Descriptor>,
    /// Its distance, and whether a better form of an equal one may come.
    rank: (u32, bool),
    /// What there is instead.
    offered: Vec<String>,
    /// How many manifests were read for want of a platform in the index.
    read: usize,
}

impl<'a> Search<'a> {
    const fn new(platform: &'a Platform) -> Self {
        Self { platform, best: None, rank: (u32::MAX, true), offered: Vec::new(), read: 0 }
    }

    fn look_at(&mut self, manifests: &[Descriptor], read: &ReadDocument<'_>) -> Result<(), Error> {
        for descriptor in manifests {
            let (distance, what) = match descriptor.platform() {
                Some(offered) => {
                    let offered = Platform::from(offered);
                    if offered.is_unknown() {
                        continue;
                    }
                    (self.platform.distance(&offered), offered.to_string())
                }
                None if !media_type::is_manifest(descriptor.media_type().as_ref()) => continue,
                None if self.read >= READ_MAX => continue,
                None => {
                    self.read += 1;
                    let bytes = read(descriptor, MANIFEST_MAX)?;
                    let digest = digest_of(descriptor)?;
                    distance_of_manifest(bytes, &digest, self.platform, read)?
                }
            };
            if !self.offered.contains(&what) {
                self.offered.push(what);
            }
            // Of equals the first counts, but one compressed with zstd before the others.
            let rank = distance.map(|distance| (distance, !is_zstd(descriptor)));
            if let Some(rank) = rank.filter(|rank| self.best.is_none() || *rank < self.rank) {
                (self.best, self.rank) = (Some(descriptor.clone()), rank);
            }
        }
        Ok(())
    }

    fn nothing(self, name: &str) -> Error {
        let reason = format!("nothing here is for {}", self.platform);
        Error::NoSuchImage { reference: name.to_owned(), reason, present: self.offered }
    }
}

fn is_zstd(descriptor: &Descriptor) -> bool {
    let annotations = descriptor.annotations().as_ref();
    annotations.and_then(|all| all.get(ZSTD)).is_some_and(|value| value == "true")
}

/// Finds what `select` means in a layout's index, whatever the platform.
///
/// # Errors
/// [`Error::NoSuchImage`] if it means nothing or several things, [`Error::Model`], and what `read` gives.
pub fn root(index: &ImageIndex, select: &Select, name: &str, read: &ReadDocument<'_>) -> Result<Root, Error> {
    let nothing =
        |reason: String| Error::NoSuchImage { reference: name.to_owned(), reason, present: list(index) };
    let nested;
    let descriptor = match (&selected(index, select)[..], select) {
        ([one], _) => *one,
        ([], Select::Digest(digest)) => {
            nested = nested_by_digest(index.manifests(), digest.digest(), read)?;
            nested.as_ref().ok_or_else(|| nothing(absent(select)))?
        }
        ([], _) => return Err(nothing(absent(select))),
        (several, _) => return Err(nothing(format!("{} images fit; name one of them", several.len()))),
    };
    let chosen = take(descriptor, None, read)?;
    Ok(Root { bytes: chosen.bytes, digest: chosen.digest, media_type: descriptor.media_type().to_string() })
}

/// Finds what a tag means in a layout's index; `None` if it means nothing or several things.
///
/// # Errors
/// As [`root`].
pub fn tagged(
    index: &ImageIndex,
    tag: &str,
    name: &str,
    read: &ReadDocument<'_>,
) -> Result<Option<Root>, Error> {
    match root(index, &Select::Tag(tag.to_owned()), name, read) {
        Ok(root) => Ok(Some(root)),
        Err(Error::NoSuchImage { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the entries that `select` means; one manifest under several names is one entry.
fn selected<'a>(index: &'a ImageIndex, select: &Select) -> Vec<&'a Descriptor> {
    let all = index.manifests();
    let mut entries: Vec<&Descriptor> = match select {
        Select::Any => all.iter().collect(),
        Select::Tag(tag) => all.iter().filter(|entry| tag_of(entry) == Some(tag)).collect(),
        Select::Digest(digest) => {
            all.iter().filter(|entry| entry.digest().as_ref() == digest.as_str()).collect()
        }
        Select::Position(at) => all.get(*at).into_iter().collect(),
    };
    let mut seen = std::collections::HashSet::new();
    entries.retain(|entry| seen.insert(entry.digest().as_ref()));
    entries
}

/// Says that nothing is what `select` means.
fn absent(select: &Select) -> String {
    match select {
        Select::Digest(digest) => format!("no manifest of digest {digest}"),
        Select::Tag(tag) => format!("no image is called `{tag}`"),
        Select::Position(at) => format!("no image at position {at}"),
        Select::Any => "the index is empty".to_owned(),
    }
}

const ARTIFACT: &str = "no platform (an artifact)";

fn tag_of(descriptor: &Descriptor) -> Option<&String> {
    descriptor.annotations().as_ref()?.get(REF_NAME)
}

/// Lists what an index holds, for an error: tags, or digests of what has none.
fn list(index: &ImageIndex) -> Vec<String> {
    index
        .manifests()
        .iter()
        .map(|entry| {
            let name = tag_of(entry).cloned().unwrap_or_else(|| entry.digest().to_string());
            match entry.platform() {
                Some(platform) => format!("{name} ({})", Platform::from(platform)),
                None => name,
            }
        })
        .collect()
}

/// Returns the manifests that a descriptor of a layout's index leads to: itself, or an index's, one level deep.
fn expand(descriptor: &Descriptor, read: &ReadDocument<'_>) -> Result<Vec<Descriptor>, Error> {
    let kind = descriptor.media_type().to_string();
    if media_type::is_manifest(&kind) {
        return Ok(vec![descriptor.clone()]);
    }
    if !media_type::is_index(&kind) {
        return Err(Error::MediaType { digest: descriptor.digest().to_string(), media_type: kind });
    }
    let bytes = read(descriptor, MANIFEST_MAX)?;
    let index = parse_index(&bytes).map_err(|source| Error::model(descriptor.digest(), source))?;
    for child in index.manifests() {
        let kind = child.media_type().to_string();
        if !media_type::is_manifest(&kind) {
            return Err(Error::MediaType { digest: child.digest().to_string(), media_type: kind });
        }
    }
    Ok(index.manifests().clone())
}

fn nested_by_digest(
    all: &[Descriptor],
    digest: &Digest,
    read: &ReadDocument<'_>,
) -> Result<Option<Descriptor>, Error> {
    for descriptor in all.iter().filter(|entry| media_type::is_index(entry.media_type().as_ref())) {
        for child in expand(descriptor, read)? {
            if child.digest().as_ref() == digest.as_str() {
                return Ok(Some(child));
            }
        }
    }
    Ok(None)
}

/// Returns how far a manifest is from the platform, and what it is for, by its config.
fn distance_of_manifest(
    bytes: Vec<u8>,
    digest: &Digest,
    platform: &Platform,
    read: &ReadDocument<'_>,
) -> Result<(Option<u32>, String), Error> {
    let manifest = Manifest::parse(bytes).map_err(|source| Error::model(digest, source))?;
    if !manifest.is_container() {
        return Ok((None, ARTIFACT.to_owned()));
    }
    let config = manifest.parsed().config();
    let parsed: oci_spec::image::ImageConfiguration = serde_json::from_slice(&read(config, CONFIG_MAX)?)
        .map_err(|source| {
            Error::model(config.digest(), crate::model::ModelError::Json { what: "image config", source })
        })?;
    let offered = Platform::from(&parsed);
    Ok((platform.distance(&offered), offered.to_string()))
}

fn take(descriptor: &Descriptor, warning: Option<String>, read: &ReadDocument<'_>) -> Result<Chosen, Error> {
    let bytes = read(descriptor, MANIFEST_MAX)?;
    let digest = digest_of(descriptor)?;
    Ok(Chosen { bytes, digest, warning })
}
