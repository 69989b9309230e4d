//! Which manifest of a layout's index is meant.
//!
//! # Format
//! `docs/formats/oci.md`, section 6.

use oci_spec::image::{Descriptor, ImageIndex};

use crate::{
    digest::Digest,
    error::Error,
    model::{CONFIG_MAX, MANIFEST_MAX, Manifest, media_type, parse_index, platform::Platform},
    reference::Select,
};

use super::{Chosen, Root};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

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
    let mut offered = Vec::new();
    let mut only = None;
    for descriptor in &candidates {
        let children = expand(descriptor, read)?;
        for child in &children {
            let (fits, what) = fits(child, platform, read)?;
            if fits {
                return take(child, None, read);
            }
            offered.push(what);
        }
        if let [child] = &children[..] {
            only = Some(child.clone());
        }
    }
    // What was named and is one manifest is meant, whatever it was made for.
    let named = !matches!(select, Select::Any);
    match (&candidates[..], only) {
        ([_], Some(child)) if named || all.len() == 1 => {
            let what = offered.first().cloned().unwrap_or_default();
            let warning = (what != ARTIFACT)
                .then(|| format!("{name} is an image for {what}, this machine is {platform}"));
            take(&child, warning, read)
        }
        _ => Err(nothing(format!("nothing here is for {platform}, only for {}", offered.join(", ")))),
    }
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

/// Tells whether a manifest is for the platform, and what it is for.
fn fits(
    descriptor: &Descriptor,
    platform: &Platform,
    read: &ReadDocument<'_>,
) -> Result<(bool, String), Error> {
    if let Some(offered) = descriptor.platform() {
        let offered = Platform::from(offered);
        return Ok((platform.accepts(&offered), offered.to_string()));
    }
    let manifest = Manifest::parse(read(descriptor, MANIFEST_MAX)?)
        .map_err(|source| Error::model(descriptor.digest(), source))?;
    if !manifest.is_container() {
        return Ok((false, ARTIFACT.to_owned()));
    }
    let config = manifest.parsed().config();
    let parsed: oci_spec::image::ImageConfiguration = serde_json::from_slice(&read(config, CONFIG_MAX)?)
        .map_err(|source| {
            Error::model(config.digest(), crate::model::ModelError::Json { what: "image config", source })
        })?;
    let offered = Platform::from(&parsed);
    Ok((platform.accepts(&offered), offered.to_string()))
}

fn take(descriptor: &Descriptor, warning: Option<String>, read: &ReadDocument<'_>) -> Result<Chosen, Error> {
    let bytes = read(descriptor, MANIFEST_MAX)?;
    let digest = Digest::new(descriptor.digest().as_ref())
        .map_err(|source| Error::model(descriptor.digest(), source.into()))?;
    Ok(Chosen { bytes, digest, warning })
}
