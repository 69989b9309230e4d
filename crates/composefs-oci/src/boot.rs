//! The image of an OCI image that boots: a second composefs image, recorded beside the first.
//!
//! # Format
//! `docs/formats/oci.md`, sections 1 and 4; `docs/formats/boot.md`.

use composefs::{
    digest::{ObjectId, object_id_of},
    erofs::{FormatVersion, WriteOptions, compute_id},
    filetree::{
        FileTree, Regular, XattrMode,
        boot::{BootLimits, boot_transform},
    },
    repo::{Repository, Writer},
    splitstream::ContentType,
};

use crate::{
    digest::{ConfigDigest, DiffId, ManifestDigest},
    error::Error,
    ident,
    import::streams::DocumentStream,
    rootfs::image::{RootfsOptions, tree},
    stored::StoredImage,
};

/// A boot image, and how it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootImage {
    /// The image.
    pub id: ObjectId,
    /// Which extended attributes stayed.
    pub xattrs: XattrMode,
    /// Its format.
    pub version: FormatVersion,
}

/// Merges stored layers and makes the tree bootable.
///
/// # Errors
/// As [`tree`], and [`Error::Boot`] for a tree that cannot be made to boot.
pub fn boot_tree(
    repo: &Repository,
    config: &ConfigDigest,
    layers: &[(DiffId, ObjectId)],
    options: &RootfsOptions,
) -> Result<FileTree, Error> {
    let mut tree = tree(repo, config, layers, options)?;
    let mut read = |_: &[&[u8]], file: &Regular| match file.object() {
        Some(id) => repo.read_object(id, file.size()).map_err(std::io::Error::other),
        None => Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the file has no contents")),
    };
    boot_transform(&mut tree, &mut read, &BootLimits::default())
        .map_err(|source| Error::Boot { config: config.digest().clone(), source: Box::new(source) })?;
    Ok(tree)
}

/// Makes the boot image of an image that is here, and records it in the config's stream.
///
/// # Errors
/// [`Error::NotAContainer`], what [`boot_tree`] and storing give. The image stays as it was then.
pub fn create(
    writer: &Writer,
    manifest: &ManifestDigest,
    version: FormatVersion,
    options: &RootfsOptions,
) -> Result<BootImage, Error> {
    let image = StoredImage::open(writer, manifest)?;
    let tree = boot_tree(writer, image.config().digest(), &layers(&image)?, options)?;
    record(writer, &image, &tree, version, options.xattrs)
}

/// Looks for the format and attribute mode that give a known boot image, makes it and records it.
///
/// # Errors
/// As [`create`]; [`Error::NoBootImage`] if no combination gives it.
pub fn create_matching(
    writer: &Writer,
    manifest: &ManifestDigest,
    expected: &ObjectId,
    options: &RootfsOptions,
) -> Result<BootImage, Error> {
    let image = StoredImage::open(writer, manifest)?;
    let layers = layers(&image)?;
    for xattrs in [XattrMode::AllowlistOnly, XattrMode::KeepUserXattrs] {
        let tree = boot_tree(writer, image.config().digest(), &layers, &options.xattrs(xattrs))?;
        for version in [FormatVersion::V1, FormatVersion::V2] {
            let id = compute_id(&tree, version, writer.algorithm(), &WriteOptions::default())
                .map_err(Error::ImageWrite)?;
            if id == *expected {
                return record(writer, &image, &tree, version, xattrs);
            }
        }
    }
    Err(Error::NoBootImage { expected: *expected, tried: 4 })
}

fn layers(image: &StoredImage) -> Result<Vec<(DiffId, ObjectId)>, Error> {
    if image.is_container() {
        image.config().layers()
    } else {
        Err(Error::NotAContainer(image.manifest().digest().to_string()))
    }
}

fn record(
    writer: &Writer,
    image: &StoredImage,
    tree: &FileTree,
    version: FormatVersion,
    xattrs: XattrMode,
) -> Result<BootImage, Error> {
    let id = composefs::image::store(writer, tree, version)?;
    let key = ident::boot_image_key_of(version, xattrs);
    let config = image.config();
    let mut refs = config.refs().to_vec();
    refs.retain(|(name, _)| *name != key);
    refs.push((key, id));
    ident::sort_config_refs(&mut refs, &layers(image)?);
    let rewrite = |stream: &ObjectId, content_type, size: usize, refs: &[(String, ObjectId)], name: &str| {
        let object =
            writer.open_stream(stream)?.only_object().map_err(|source| Error::stream(name, source))?;
        let document = DocumentStream { content_type, object, size: size as u64, named_refs: refs };
        document.build(writer.algorithm()).map_err(|source| Error::stream(name, source))
    };
    let config_name = ident::config(config.digest())?;
    let size = config.bytes().len();
    let bytes = rewrite(config.stream(), ContentType::OCI_CONFIG, size, &refs, config_name.as_str())?;
    let config_stream = object_id_of(writer.algorithm(), &bytes);
    writer.store_prepared(config_stream, &bytes)?;

    let mut refs = vec![(ident::config_key(config.digest()), config_stream)];
    refs.extend(layers(image)?.into_iter().map(|(diff_id, id)| (diff_id.to_string(), id)));
    let manifest_name = ident::manifest(image.manifest().digest())?;
    let size = image.manifest().bytes().len();
    let bytes =
        rewrite(image.manifest_stream(), ContentType::OCI_MANIFEST, size, &refs, manifest_name.as_str())?;
    let manifest_stream = writer.store_bytes(&bytes)?.id;

    let mut commit = writer.begin();
    commit.image(id);
    commit.stream(config_name, config_stream);
    commit.stream(manifest_name, manifest_stream);
    commit.finish()?;
    Ok(BootImage { id, xattrs, version })
}
