//! What a user means by a name: a tag, `@digest`, a config's digest, a ref, an image id.
//!
//! # Format
//! `docs/formats/cli.md`, sections 3 and 6.

use composefs::{
    digest::ObjectId, erofs::FormatVersion, error::Category, filetree::FileTree, repo::Repository,
};

use crate::{
    boot,
    digest::{ConfigDigest, Digest, DigestError, ManifestDigest},
    error::Error,
    ident,
    rootfs::{self, RootfsOptions},
    seal,
    stored::{StoredConfig, StoredImage, tags},
};

/// A text as a digest: with its algorithm, or 64 bare hex digits, which are sha256.
///
/// # Errors
/// [`DigestError`] with the text.
pub fn parse_digest(text: &str) -> Result<Digest, DigestError> {
    if text.len() == 64 && !text.contains(':') {
        return Digest::new(&format!("sha256:{}", text.to_ascii_lowercase()));
    }
    Digest::new(text)
}

/// A name on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `@digest`: of a manifest or a config, as the verb says.
    Digest(Digest),
    /// Anything else.
    Text(String),
}

impl std::str::FromStr for Name {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text.strip_prefix('@') {
            Some(digest) => parse_digest(digest).map(Self::Digest),
            None => Ok(Self::Text(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Digest(digest) => write!(f, "@{digest}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Opens the image of a tag, or of `@` a manifest's digest.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Damaged`].
pub fn image(repo: &Repository, name: &Name) -> Result<StoredImage, Error> {
    match name {
        Name::Digest(digest) => StoredImage::open(repo, &ManifestDigest::new(digest.clone())),
        Name::Text(tag) => StoredImage::open_tag(repo, tag),
    }
}

/// Finds the manifest of a tag, or of `@` its digest, without opening it.
///
/// # Errors
/// [`Error::NotFound`] for a tag that is not there.
pub fn manifest(repo: &Repository, name: &Name) -> Result<ManifestDigest, Error> {
    match name {
        Name::Digest(digest) => Ok(ManifestDigest::new(digest.clone())),
        Name::Text(tag) => tags::resolve(repo, tag),
    }
}

/// Opens the config of a tag, of `@` a config's digest, of 64 bare hex digits, or of a 0.3 ref `refs/NAME`.
///
/// With the id of the config's stream nothing is looked up by name.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Damaged`].
pub fn config(repo: &Repository, name: &Name, stream: Option<&ObjectId>) -> Result<StoredConfig, Error> {
    let by_digest = |digest: Digest| {
        let digest = ConfigDigest::new(digest);
        match stream {
            Some(stream) => StoredConfig::open_stream(repo, &digest, stream),
            None => StoredConfig::open(repo, &digest),
        }
    };
    let text = match name {
        Name::Digest(digest) => return by_digest(digest.clone()),
        Name::Text(text) => text,
    };
    match tags::resolve(repo, text) {
        Ok(manifest) => return Ok(StoredImage::open(repo, &manifest)?.config().clone()),
        Err(Error::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    if let Some(reference) =
        text.strip_prefix("refs/").and_then(|name| composefs::name::RefName::new(name).ok())
        && let Some(target) = repo.read_ref(Category::Streams, &reference)?
    {
        if let Some(manifest) = ident::parse_manifest(&target) {
            return Ok(StoredImage::open(repo, &manifest)?.config().clone());
        }
        if let Some(digest) = target.strip_prefix("oci-config-").and_then(|digest| Digest::new(digest).ok()) {
            return by_digest(digest);
        }
        return by_digest(parse_digest(&target).map_err(|_| Error::NotFound(text.clone()))?);
    }
    match parse_digest(text) {
        Ok(digest) => by_digest(digest),
        Err(_) => Err(Error::NotFound(text.clone())),
    }
}

/// Which of a config's images is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageKind {
    /// The root file system.
    #[default]
    Root,
    /// The variant that boots.
    Boot,
}

/// Finds the image that a name means for mounting: an OCI image by tag or manifest digest, a config by digest
/// (sealed ones by their seal), else an image of the repository by id or ref.
///
/// # Errors
/// [`Error::NoImage`], [`Error::NotFound`].
pub fn mountable(
    repo: &Repository,
    name: &Name,
    version: FormatVersion,
    kind: ImageKind,
) -> Result<ObjectId, Error> {
    let key = match kind {
        ImageKind::Root => ident::image_key(version),
        ImageKind::Boot => ident::boot_image_key(version),
    };
    let of_config = |config: &StoredConfig, name: &Name| {
        config.named(key).copied().map_or_else(
            || match seal::sealed_image(config) {
                Ok(image) if kind == ImageKind::Root => Ok(image),
                Ok(_) | Err(Error::NotSealed) => Err(Error::NoImage(name.to_string())),
                Err(error) => Err(error),
            },
            Ok,
        )
    };
    let digest = match name {
        Name::Digest(digest) => Some(digest.clone()),
        Name::Text(text) => match tags::resolve(repo, text) {
            Ok(manifest) => return of_config(StoredImage::open(repo, &manifest)?.config(), name),
            Err(Error::NotFound(_)) => parse_digest(text).ok(),
            Err(error) => return Err(error),
        },
    };
    let Some(digest) = digest else { return Err(Error::NotFound(name.to_string())) };
    match StoredImage::open(repo, &ManifestDigest::new(digest.clone())) {
        Ok(image) => return of_config(image.config(), name),
        Err(Error::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    match StoredConfig::open(repo, &ConfigDigest::new(digest)) {
        Ok(config) => of_config(&config, name),
        Err(Error::NotFound(_)) => Err(Error::NotFound(name.to_string())),
        Err(error) => Err(error),
    }
}

/// Reads the tree of what a name means: of its image as [`mountable`] finds it, else, of an image pulled without one,
/// of its layers.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Merge`], [`Error::Damaged`], what reading gives.
pub fn tree(
    repo: &Repository,
    name: &Name,
    version: FormatVersion,
    kind: ImageKind,
) -> Result<FileTree, Error> {
    let id = match mountable(repo, name, version, kind) {
        Ok(id) => id,
        Err(Error::NoImage(_)) => {
            let options = RootfsOptions::default();
            let stored = match image(repo, name) {
                Ok(image) => image.config().clone(),
                Err(Error::NotFound(_)) => config(repo, name, None)?,
                Err(error) => return Err(error),
            };
            let make = match kind {
                ImageKind::Root => rootfs::tree,
                ImageKind::Boot => boot::boot_tree,
            };
            return make(repo, stored.digest(), &stored.layers()?, &options);
        }
        // An image of the repository, by id or ref.
        Err(Error::NotFound(_)) => {
            repo.resolve_image(&name.to_string()).map(|found| found.id).map_err(|error| {
                if error.is_missing() { Error::NotFound(name.to_string()) } else { error.into() }
            })?
        }
        Err(error) => return Err(error),
    };
    Ok(composefs::image::tree(repo, &id)?)
}

/// A composefs image that a config names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkedImage {
    /// The image.
    pub id: ObjectId,
    /// Whether it is a boot variant.
    pub bootable: bool,
    /// 1 for the formats V0 and V1, 2 for V2.
    pub version: u8,
    /// The mode of filtering of a boot variant.
    pub xattr_mode: Option<String>,
}

impl LinkedImage {
    fn parse(key: &str, id: ObjectId) -> Option<Self> {
        let rest = key.strip_prefix("composefs.image")?;
        let (rest, bootable) = rest.strip_prefix(".boot").map_or((rest, false), |rest| (rest, true));
        // The longer prefix first: `.v1` stands before `.xattrs=`.
        let (rest, version) = rest.strip_prefix(".v1").map_or((rest, 2), |rest| (rest, 1));
        let xattr_mode = match rest {
            "" if bootable => Some("allowlist-only".to_owned()),
            "" => None,
            rest => Some(rest.strip_prefix(".xattrs=")?.to_owned()),
        };
        Some(Self { id, bootable, version, xattr_mode })
    }
}

/// Lists the composefs images of the OCI image that one of them belongs to, tagged images first.
///
/// # Errors
/// [`Error::NotFound`] if no config names the image.
pub fn linked_images(repo: &Repository, image: &ObjectId) -> Result<Vec<LinkedImage>, Error> {
    for (name, id) in repo.stream_entries()? {
        let Some(digest) =
            name.as_str().strip_prefix("oci-config-").and_then(|digest| Digest::new(digest).ok())
        else {
            continue;
        };
        let Ok(config) = StoredConfig::open_stream(repo, &ConfigDigest::new(digest), &id) else { continue };
        let mut images: Vec<LinkedImage> =
            config.refs().iter().filter_map(|(key, id)| LinkedImage::parse(key, *id)).collect();
        if images.iter().any(|linked| linked.id == *image) {
            images.sort_by_key(|linked| linked.bootable);
            return Ok(images);
        }
    }
    Err(Error::NotFound(image.to_string()))
}
