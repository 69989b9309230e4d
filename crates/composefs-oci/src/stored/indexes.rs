//! Indexes kept whole: which manifests of several platforms belong together.
//!
//! A tag leads to the manifest for one platform; the index that it came from stands beside it, under the same name.
//!
//! # Format
//! `docs/formats/oci.md`, section 7.

use composefs::{
    digest::ObjectId,
    error::Category,
    name::StreamName,
    repo::{Commit, Repository},
    splitstream::ContentType,
};

use crate::{
    digest::{Digest, ManifestDigest},
    error::Error,
    ident,
    model::MANIFEST_MAX,
};

use super::Document;

/// An index of the repository, with the streams of those of its manifests that are here.
#[derive(Clone, Debug)]
pub struct StoredIndex {
    digest: Digest,
    bytes: Vec<u8>,
    manifests: Vec<(ManifestDigest, ObjectId)>,
}

impl StoredIndex {
    /// Opens the index kept with a tag; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Damaged`] if bytes and digest disagree.
    pub fn of_tag(repo: &Repository, tag: &str) -> Result<Option<Self>, Error> {
        let Some(target) = repo.read_ref(Category::Streams, &ident::index_of_tag(tag)?)? else {
            return Ok(None);
        };
        let damaged = |reason: String| Error::Damaged { subject: format!("index of {tag}"), reason };
        let digest = ident::parse_index(&target)
            .ok_or_else(|| damaged(format!("its ref points to `{target}`, which is no index")))?;
        let name = StreamName::new(target)?;
        let stream =
            repo.stream_entry(&name)?.ok_or_else(|| damaged(format!("there is no entry `{name}`")))?;
        let document = Document::read(repo, &name, &stream, ContentType::OCI_INDEX, MANIFEST_MAX)?;
        document.check(&digest, &name)?;
        let manifests = document
            .refs
            .iter()
            .filter_map(|(key, id)| Some((ident::parse_manifest_key(key)?, *id)))
            .collect();
        Ok(Some(Self { digest, bytes: document.bytes, manifests }))
    }

    /// Returns the digest of the bytes.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the manifests that are here, with the ids of their streams.
    #[must_use]
    pub fn manifests(&self) -> &[(ManifestDigest, ObjectId)] {
        &self.manifests
    }
}

/// Takes the index of a tag away if the manifest that the tag is to have is none of it.
pub(crate) fn forget_unless(
    repo: &Repository,
    commit: &mut Commit<'_>,
    tag: &str,
    manifest: &ManifestDigest,
) -> Result<(), Error> {
    let name = ident::index_of_tag(tag)?;
    // One that cannot be read is of no use to anybody.
    let stays = match StoredIndex::of_tag(repo, tag) {
        Ok(Some(index)) => index.manifests.iter().any(|(digest, _)| digest == manifest),
        Ok(None) => return Ok(()),
        Err(error @ Error::Repository(_)) => return Err(error),
        Err(_) => false,
    };
    if !stays {
        commit.remove_stream_ref(name);
    }
    Ok(())
}
