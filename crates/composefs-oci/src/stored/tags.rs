//! Tags: names for manifests.

use composefs::{
    error::Category,
    name::{RefName, decode_component},
    repo::{Repository, Writer},
};

use crate::{
    digest::{Digest, ManifestDigest},
    error::Error,
    ident,
};

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
    commit.finish()?;
    writer.note_use(stream.as_str());
    Ok(())
}

/// Removes a tag, and the index that is kept with it.
///
/// # Errors
/// [`Error::NotFound`] if there is none.
pub fn remove(writer: &Writer, tag: &str) -> Result<(), Error> {
    remove_all(writer, &[tag])
}

/// Removes several tags, each with the index that is kept with it, in one commit.
///
/// # Errors
/// [`Error::NotFound`] if there is one of them not; none is removed then.
pub fn remove_all<T: AsRef<str>>(writer: &Writer, tags: &[T]) -> Result<(), Error> {
    let mut commit = writer.begin();
    for tag in tags {
        for name in refs_of(writer, tag.as_ref())? {
            commit.remove_stream_ref(name);
        }
    }
    Ok(commit.finish()?)
}

/// Finds what there is of a tag: its ref, and that of the index that is kept with it.
fn refs_of(repo: &Repository, tag: &str) -> Result<Vec<RefName>, Error> {
    let not_found = || Error::NotFound(tag.to_owned());
    let names = [ident::tag(tag).map_err(|_| not_found())?, ident::index_of_tag(tag)?];
    let mut found = Vec::new();
    for name in names {
        if repo.read_ref(Category::Streams, &name)?.is_some() {
            found.push(name);
        }
    }
    // Other programs remove the tag and leave the index.
    if found.is_empty() { Err(not_found()) } else { Ok(found) }
}

/// Finds the tags that a name on the command line means: the tag of that name, else those of the manifest with that
/// digest, which may begin with `@`.
///
/// # Errors
/// [`Error::NotFound`] if there are none.
pub fn named(repo: &Repository, name: &str) -> Result<Vec<String>, Error> {
    match refs_of(repo, name) {
        Ok(_) => return Ok(vec![name.to_owned()]),
        Err(Error::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    let not_found = || Error::NotFound(name.to_owned());
    let digest: Digest = name.strip_prefix('@').unwrap_or(name).parse().map_err(|_| not_found())?;
    let tags: Vec<String> = list(repo)?
        .into_iter()
        .filter(|tag| tag.manifest.as_ref().is_some_and(|manifest| *manifest.digest() == digest))
        .map(|tag| tag.name)
        .collect();
    if tags.is_empty() { Err(not_found()) } else { Ok(tags) }
}
