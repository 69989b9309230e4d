//! A layer's stream back to its entries.
//!
//! Entries are read as today: PAX records count, names end before their NUL, and a lone zero block is no end; each
//! of these was otherwise in 0.3.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

use composefs::{
    digest::ObjectId,
    dumpfile::{write_directory, write_hardlink, write_leaf},
    filetree::InodeKind,
    fsverity::FsVerityHashValue,
    splitstream::{SplitStreamData, SplitStreamReader},
    tree::{LeafContent, Stat},
};
use composefs_tar::{EntryKind, Event, Member, Options, Parser};

use crate::{error::Error, import::entry_line, rootfs::image::expanded};

/// What a name in a layer stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TarItem<ObjectID: FsVerityHashValue> {
    /// A directory.
    Directory,
    /// Anything else that has an inode of its own.
    Leaf(LeafContent<ObjectID>),
    /// Another name of what has this path.
    Hardlink(OsString),
}

/// An entry of a layer; displayed as its line of a dumpfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarEntry<ObjectID: FsVerityHashValue> {
    /// The path with one leading slash; empty for the root.
    pub path: PathBuf,
    /// The metadata.
    pub stat: Stat,
    /// What it is.
    pub item: TarItem<ObjectID>,
}

impl<ObjectID: FsVerityHashValue> fmt::Display for TarEntry<ObjectID> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.item {
            TarItem::Directory => write_directory(f, &self.path, &self.stat, 1),
            TarItem::Leaf(content) => write_leaf(f, &self.path, &self.stat, content, 1),
            TarItem::Hardlink(target) => write_hardlink(f, &self.path, target),
        }
    }
}

/// Reads the next entry of a layer; `None` at its end.
///
/// # Errors
/// [`Error::Repository`] for what is no layer, and for a member that is no entry of a tree.
pub fn get_entry<R, ObjectID: FsVerityHashValue>(
    reader: &mut SplitStreamReader<R, ObjectID>,
) -> Result<Option<TarEntry<ObjectID>>, Error> {
    let mut parser = Parser::new(Options::default());
    let mut block = [0; 512];
    let mut zero_blocks = 0;
    loop {
        let between = parser.finish();
        if !reader.read_inline_exact(&mut block)? {
            return between.map(|()| None).map_err(wrap);
        }
        // Two zero blocks where a header should be end the archive.
        zero_blocks = if between.is_ok() && block == [0; 512] { zero_blocks + 1 } else { 0 };
        if zero_blocks == 2 {
            return Ok(None);
        }
        let mut input = &block[..];
        while let Some(event) = parser.parse(&mut input).map_err(wrap)? {
            match event {
                Event::Inline(_) | Event::Content(_) | Event::End => {}
                Event::Member(member) => return entry(reader, member, None).map(Some),
                Event::Begin(member) => {
                    let size = member.external.unwrap_or_default();
                    let object = external(reader, size)?;
                    return entry(reader, member, Some((object, size))).map(Some);
                }
            }
        }
    }
}

fn wrap(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    composefs::Error::caller(error).into()
}

/// Takes the object of a member's contents, with the padding behind it.
fn external<R, ObjectID: FsVerityHashValue>(
    reader: &mut SplitStreamReader<R, ObjectID>,
    size: u64,
) -> Result<ObjectId, Error> {
    let sizes = usize::try_from(size).ok().and_then(|size| Some((size, size.checked_next_multiple_of(512)?)));
    let (actual, stored) = sizes.ok_or_else(|| composefs::Error::caller("a file larger than memory"))?;
    match reader.read_exact(actual, stored)? {
        SplitStreamData::External(id) => Ok(id.to_native()),
        SplitStreamData::Inline(_) => {
            Err(composefs::Error::caller("contents are inline that belong in an object").into())
        }
    }
}

fn entry<R, ObjectID: FsVerityHashValue>(
    reader: &SplitStreamReader<R, ObjectID>,
    member: Member,
    object: Option<(ObjectId, u64)>,
) -> Result<TarEntry<ObjectID>, Error> {
    let object = expanded(reader.repository(), &member, object)?;
    let entry = member.entry.map_err(wrap)?;
    let path = PathBuf::from(OsString::from_vec(entry_line::shown_path(&entry.path)));
    let stat = Stat::from_native(&entry_line::stat(&entry));
    let item = match (entry_line::kind(&entry, object.map(|(id, _)| id)), &entry.kind) {
        (Some(InodeKind::Directory(_)), _) => TarItem::Directory,
        (Some(kind), _) => TarItem::Leaf(
            LeafContent::from_native(&kind)
                .ok_or_else(|| composefs::Error::caller("a file without contents"))?,
        ),
        (None, EntryKind::Hardlink { target }) => {
            TarItem::Hardlink(OsStr::from_bytes(&entry_line::shown_path(target)).to_owned())
        }
        (None, _) => return Err(composefs::Error::caller("a member of no kind").into()),
    };
    Ok(TarEntry { path, stat, item })
}
