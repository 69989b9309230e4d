//! Artifacts about a stored image, on their way out with it.

use std::io::Read;

use composefs::repo::Repository;
use oci_spec::image::Descriptor;

use crate::{
    digest::{ConfigDigest, DiffId, Digest, ManifestDigest},
    error::Error,
    ident,
    model::media_type,
    stored::{StoredImage, layer::LayerReader, referrers},
    transport::artifacts::{descriptor_of, kind_of},
};

/// Lists what refers to a manifest, of one type if that is given.
pub(super) fn list(
    repo: &Repository,
    subject: &Digest,
    kind: Option<&str>,
) -> Result<Vec<Descriptor>, Error> {
    let mut found = Vec::new();
    for digest in referrers::list(repo, &ManifestDigest::new(subject.clone()))? {
        let artifact = StoredImage::open(repo, &digest)?;
        let own = kind_of(artifact.manifest());
        let named = digest.as_str().parse::<oci_spec::image::Digest>();
        if let Ok(named) = named
            && kind.is_none_or(|wanted| wanted == own)
        {
            let bytes = artifact.manifest().bytes();
            let media_type =
                media_type::of_document(None, bytes).map_err(|source| Error::model(&digest, source))?;
            let entry = Descriptor::new(media_type.as_str().into(), bytes.len() as u64, named);
            found.push(descriptor_of(&entry, &own));
        }
    }
    Ok(found)
}

/// Reads an artifact's manifest.
pub(super) fn document(repo: &Repository, digest: Digest) -> Result<Vec<u8>, Error> {
    Ok(StoredImage::open(repo, &ManifestDigest::new(digest))?.manifest().bytes().to_vec())
}

/// Opens a blob of an artifact: its config, or one of its layers.
pub(super) fn blob<'r>(
    repo: &'r Repository,
    digest: Digest,
    place: &str,
) -> Result<Box<dyn Read + Send + 'r>, Error> {
    let config = repo.stream_entry(&ident::config(&ConfigDigest::new(digest.clone()))?)?;
    let stream = match config {
        Some(config) => Some(config),
        None => repo.stream_entry(&ident::layer(&DiffId::new(digest.clone()))?)?,
    };
    match stream {
        Some(stream) => Ok(Box::new(LayerReader::open(repo, &stream)?)),
        None => Err(Error::BlobMissing { digest, place: place.to_owned() }),
    }
}
