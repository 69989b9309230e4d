//! Stored layers to a merged tree, and that tree to an image: its id only, or committed.

use std::io::Read as _;

use composefs::{
    digest::{Algorithm, ObjectId, VerityHasher},
    erofs::{self, FormatVersion},
    filetree::{FileTree, TransformOptions, XattrMode},
    progress::{Event as Progress, Observer},
    repo::{Repository, Writer},
    splitstream::{Chunk, ContentType},
};
use composefs_tar::{Content, EntryKind, Event, Member, Mode, Options, Parser, Piece, SparseMap};

use crate::{
    digest::{ConfigDigest, DiffId},
    error::{Error, Step},
};

use super::{MergeMode, MergeOptions, Merger, Rules};

/// How layers become a tree.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RootfsOptions {
    /// Lenient takes what container runtimes take, strict what upstream takes.
    pub mode: Mode,
    /// Which extended attributes stay.
    pub xattrs: XattrMode,
    /// Today's rules, or those of 0.3 (no transform, its opaque marker).
    pub rules: Rules,
}

impl RootfsOptions {
    /// Sets the mode.
    #[must_use]
    pub const fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets which extended attributes stay.
    #[must_use]
    pub const fn xattrs(mut self, xattrs: XattrMode) -> Self {
        self.xattrs = xattrs;
        self
    }

    /// Sets the rules.
    #[must_use]
    pub const fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }
}

/// Merges stored layers, lowest first, and transforms the tree.
///
/// # Errors
/// [`Error::Merge`] with the layer and entry, [`Error::Tree`], [`Error::Damaged`], what reading gives.
pub fn tree(
    repo: &Repository,
    config: &ConfigDigest,
    layers: &[(DiffId, ObjectId)],
    options: &RootfsOptions,
) -> Result<FileTree, Error> {
    let mode = match options.mode {
        Mode::Lenient => MergeMode::Lenient,
        Mode::Strict => MergeMode::Strict,
    };
    let mut merger = Merger::new(MergeOptions::default().mode(mode).rules(options.rules));
    for (diff_id, stream) in layers {
        merger.begin_layer();
        apply_layer(repo, diff_id, stream, options.mode, &mut merger)?;
    }
    let mut tree = merger.finish();
    if options.rules == Rules::Current {
        let transform =
            TransformOptions::default().xattrs(options.xattrs).strict(options.mode == Mode::Strict);
        tree.transform_for_oci(transform)
            .map_err(|source| Error::Tree { config: config.digest().clone(), source })?;
    }
    Ok(tree)
}

/// Reads the entries of a stored layer in order: each with the object of its contents, if it has one.
///
/// # Errors
/// [`Error::Damaged`], [`Error::LayerTar`], what reading or `each` gives.
pub fn entries(
    repo: &Repository,
    diff_id: &DiffId,
    stream: &ObjectId,
    mode: Mode,
    mut each: impl FnMut(Member, Option<(ObjectId, u64)>) -> Result<(), Error>,
) -> Result<(), Error> {
    let damaged =
        |reason: &str| Error::Damaged { subject: format!("layer {diff_id}"), reason: reason.to_owned() };
    let tar_error = |source| Error::LayerTar { layer: diff_id.digest().clone(), source };
    let stream_error = |source| Error::stream(format!("oci-layer-{diff_id}"), source);
    let stream = repo.open_stream(stream)?;
    if !matches!(stream.content_type(), ContentType::OCI_LAYER | ContentType::NONE) {
        return Err(damaged("its stream is no tar layer"));
    }
    let mut parser = Parser::new(Options::default().mode(mode));
    let mut chunks = stream.chunks().map_err(stream_error)?;
    let mut begun: Option<(Member, Option<(ObjectId, u64)>)> = None;
    while let Some(chunk) = chunks.next_chunk().map_err(stream_error)? {
        let mut input: &[u8] = match chunk {
            Chunk::Inline(bytes) => bytes,
            Chunk::External(id) => {
                let size =
                    parser.external_size().ok_or_else(|| damaged("an object stands where none belongs"))?;
                parser.skip_external(size).map_err(tar_error)?;
                if let Some((_, object)) = &mut begun {
                    *object = Some((id, size));
                }
                &[]
            }
        };
        while let Some(event) = parser.parse(&mut input).map_err(tar_error)? {
            match event {
                Event::Inline(_) => {}
                Event::Content(_) => return Err(damaged("contents are inline that belong in an object")),
                Event::Begin(member) => begun = Some((member, None)),
                Event::End => {
                    if let Some((member, object)) = begun.take() {
                        let object = expanded(repo, &member, object)?;
                        each(member, object)?;
                    }
                }
                Event::Member(member) => {
                    let object = expanded(repo, &member, None)?;
                    each(member, object)?;
                }
            }
        }
    }
    parser.finish().map_err(tar_error)
}

/// Returns the object of a member's contents as the tree needs it: of a sparse one the expanded file.
pub(crate) fn expanded(
    repo: &Repository,
    member: &Member,
    stored: Option<(ObjectId, u64)>,
) -> Result<Option<(ObjectId, u64)>, Error> {
    let Ok(entry) = &member.entry else { return Ok(stored) };
    let EntryKind::Regular { content: Content::Sparse(map), .. } = &entry.kind else { return Ok(stored) };
    let id = expanded_id(repo, map, stored.map(|(id, _)| id))?;
    if !repo.has_object(&id)? {
        return Err(composefs::error::Error::ObjectMissing { id }.into());
    }
    Ok(Some((id, map.size())))
}

/// Computes the id of an expanded sparse file anew: the stream does not say which of its objects it is.
fn expanded_id(repo: &Repository, map: &SparseMap, stored: Option<ObjectId>) -> Result<ObjectId, Error> {
    let mut hasher = VerityHasher::new(repo.algorithm());
    let mut expander = map.clone().into_expander();
    let mut push = |bytes: &[u8]| {
        let mut bytes = bytes;
        while let Some(piece) = expander.next(&mut bytes) {
            match piece {
                Piece::Data(data) => hasher.update(data),
                Piece::Hole(size) => hasher.update_zeros(size),
            }
        }
    };
    match stored {
        Some(id) => read_pieces(repo, &id, &mut push)?,
        None => push(map.inline_data().unwrap_or_default()),
    }
    push(&[]);
    Ok(hasher.finish())
}

fn read_pieces(repo: &Repository, id: &ObjectId, push: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
    let mut file = std::fs::File::from(repo.open_object(id)?);
    let mut buffer = vec![0; crate::decompress::BUFFER];
    loop {
        let got = file
            .read(&mut buffer)
            .map_err(|source| Error::source(Step::ReadSource, format!("object {id}"), source))?;
        if got == 0 {
            return Ok(());
        }
        push(buffer.get(..got).unwrap_or_default());
    }
}

fn apply_layer(
    repo: &Repository,
    diff_id: &DiffId,
    stream: &ObjectId,
    mode: Mode,
    merger: &mut Merger,
) -> Result<(), Error> {
    entries(repo, diff_id, stream, mode, |member, object| {
        merger
            .apply(member.entry, object.map(|(id, _)| id))
            .map_err(|source| Error::Merge { diff_id: diff_id.clone(), source })
    })
}

/// Computes the id of a tree's image without storing anything.
///
/// # Errors
/// [`Error::Repository`] for a tree that no image can hold.
pub fn image_id(tree: &FileTree, version: FormatVersion, algorithm: Algorithm) -> Result<ObjectId, Error> {
    erofs::compute_id(tree, version, algorithm, &erofs::WriteOptions::default()).map_err(Error::ImageWrite)
}

/// Stores a tree's images, one for each format; the caller commits their entries.
///
/// # Errors
/// What writing and storing give.
pub fn store_images(
    writer: &Writer,
    tree: &FileTree,
    versions: &[FormatVersion],
    observer: &dyn Observer,
) -> Result<Vec<(FormatVersion, ObjectId)>, Error> {
    let mut images = Vec::new();
    for &version in versions {
        let name = format!("EROFS format {version}");
        observer.event(&Progress::Begin { what: "image", name: &name, total: None });
        let id = composefs::image::store(writer, tree, version)?;
        observer.event(&Progress::Done { name: &name });
        images.push((version, id));
    }
    Ok(images)
}
