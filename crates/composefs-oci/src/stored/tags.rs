//! Tags: names for manifests.

use composefs::{
    error::Category,
    name::decode_component,
    repo::{Repository, Writer},
};

use crate::{digest::ManifestDigest, error::Error, ident};

use super::indexes;

/// A tag and what it points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The name, decoded.
    pub name: String,
    /// The manifest; `None` if the ref leads to something else.
    pub manifest: Option<ManifestDigest>,
}

/// Lists all tags in byte order.
///
/// # Errors
/// What listing the refs gives.
pub fn list(repo: &Repository) -> Result<Vec<Tag>, Error> {
    let mut tags: Vec<Tag> = repo
        .refs(Category::Streams, ident::TAGS)?
        .into_iter()
        .map(|(name, target)| Tag { name: decode_component(&name), manifest: ident::parse_manifest(&target) })
        .collect();
    tags.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tags)
}

/// Finds the manifest of a tag.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Damaged`] if the tag leads to no manifest.
pub fn resolve(repo: &Repository, tag: &str) -> Result<ManifestDigest, Error> {
    let name = ident::tag(tag).map_err(|_| Error::NotFound(tag.to_owned()))?;
    let target = repo.read_ref(Category::Streams, &name)?.ok_or_else(|| Error::NotFound(tag.to_owned()))?;
    ident::parse_manifest(&target).ok_or_else(|| Error::Damaged {
        subject: format!("tag {tag}"),
        reason: format!("it points to `{target}`, which is no manifest"),
    })
}

/// Gives a manifest that is present a tag, moving one that exists.
///
/// # Errors
/// [`Error::NotFound`] for a manifest that is not here: a tag never points to nothing.
pub fn set(writer: &Writer, tag: &str, digest: &ManifestDigest) -> Result<(), Error> {
    let reference = ident::tag(tag)?;
    let stream = ident::manifest(digest)?;
    if writer.stream_entry(&stream)?.is_none() {
        return Err(Error::NotFound(digest.to_string()));
    }
    let mut commit = writer.begin();
    commit.stream_ref(reference, &stream);
    indexes::forget_unless(writer, &mut commit, tag, digest)?;
    Ok(commit.finish()?)
}

/// Removes a tag, and the index that is kept with it.
///
/// # Errors
/// [`Error::NotFound`] if there is none.
pub fn remove(writer: &Writer, tag: &str) -> Result<(), Error> {
    let reference = ident::tag(tag).map_err(|_| Error::NotFound(tag.to_owned()))?;
    let index = ident::index_of_tag(tag)?;
    let with_index = writer.read_ref(Category::Streams, &index)?.is_some();
    let here = writer.read_ref(Category::Streams, &reference)?.is_some();
    // Other programs remove the tag and leave the index.
    if !here && !with_index {
        return Err(Error::NotFound(tag.to_owned()));
    }
    let mut commit = writer.begin();
    if here {
        commit.remove_stream_ref(reference);
    }
    if with_index {
        commit.remove_stream_ref(index);
    }
    Ok(commit.finish()?)
}
