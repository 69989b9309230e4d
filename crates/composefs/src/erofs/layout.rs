//! Where everything in an image is, computed before a byte is written.
//!
//! # Format
//! `docs/formats/erofs.md`, sections 5, 6 and 8.

use crate::filetree::FileTree;

use super::dirent;
use super::error::{Refusal, WriteError};
use super::format::{
    self, BLOCK_SIZE, CompactInode, DataLayout, ExtendedInode, FormatVersion, INODES_OFFSET, SLOT_SIZE,
};
use super::inode::{Body, View};
use super::order::{Node, Order};
use super::xattr::{Area, XattrTable};

/// Where one inode is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// Offset divided by [`SLOT_SIZE`].
    pub(super) nid: u32,
    /// Its first data block, counted from the first of the image.
    pub(super) first_block: u32,
    /// Number of its data blocks.
    pub(super) blocks: u32,
    /// Bytes after the xattrs, at most 4096.
    pub(super) tail: u16,
}

/// Where everything is.
pub(super) struct Layout {
    /// By inode number.
    pub(super) placed: Vec<Placed>,
    /// The mtime of compact inodes.
    pub(super) build_time: (i64, u32),
    /// Offset of the shared xattrs.
    pub(super) inodes_end: u64,
    /// Number of the first data block.
    pub(super) data_block: u32,
    /// Length of the image in blocks.
    pub(super) blocks: u32,
}

/// What an inode takes, before it is placed.
struct Shape {
    /// Header and xattrs.
    meta: u64,
    tail: u64,
    blocks: u64,
}

impl Layout {
    pub(super) fn new<'a>(
        tree: &'a FileTree,
        version: FormatVersion,
        order: &Order<'a>,
        xattrs: &XattrTable<'a>,
    ) -> Result<Self, WriteError> {
        let build_time = build_time(tree, version, order);
        let mut layout = Self {
            placed: Vec::with_capacity(order.nodes.len()),
            build_time,
            inodes_end: 0,
            data_block: 0,
            blocks: 0,
        };
        let (mut pos, mut data_blocks) = (INODES_OFFSET, 0_u64);
        let mut area = Area::default();
        for (number, node) in (0..).zip(&order.nodes) {
            let refuse = |refusal| match node {
                Node::Tree(id) => WriteError::of(tree, *id, refusal),
                Node::Stub(_) => WriteError::TooLarge,
            };
            xattrs.area_of(number, *node, &mut area)?;
            let area_size = xattrs.area_size(&area);
            if area_size > format::xattr_area_size(u16::MAX) {
                return Err(refuse(Refusal::XattrArea(area_size)));
            }
            let view = View::new(tree, version, order, *node);
            let (blocks, tail) = split(&view.body, version, order).map_err(refuse)?;
            let header = if is_compact(&view, version, size(&view.body, blocks, tail), build_time) {
                CompactInode::SIZE
            } else {
                ExtendedInode::SIZE
            };
            let mut shape = Shape { meta: header as u64 + area_size, tail, blocks };
            pos = place(format::round_up(pos, SLOT_SIZE), &view.body, version, &mut shape);
            layout.placed.push(Placed {
                nid: u32::try_from(pos / SLOT_SIZE).map_err(|_| WriteError::TooLarge)?,
                first_block: u32::try_from(data_blocks).map_err(|_| WriteError::TooLarge)?,
                blocks: u32::try_from(shape.blocks).map_err(|_| WriteError::TooLarge)?,
                tail: u16::try_from(shape.tail).map_err(|_| WriteError::TooLarge)?,
            });
            if number == 0 && pos / SLOT_SIZE >= u64::from(u16::MAX) {
                return Err(refuse(Refusal::RootNid(pos / SLOT_SIZE)));
            }
            pos += shape.meta + shape.tail;
            data_blocks += shape.blocks;
        }
        layout.inodes_end = format::round_up(pos, SLOT_SIZE);
        let table_end = layout.inodes_end + xattrs.table_size;
        let data_block = table_end.div_ceil(BLOCK_SIZE);
        if table_end / 4 > u64::from(u32::MAX) {
            return Err(WriteError::TooLarge);
        }
        layout.blocks = u32::try_from(data_block + data_blocks).map_err(|_| WriteError::TooLarge)?;
        // Not above `blocks`.
        layout.data_block = data_block as u32;
        Ok(layout)
    }

    /// Returns where an inode is.
    pub(super) fn placed(&self, number: u32) -> Placed {
        self.placed[number as usize]
    }
}

/// Returns the smallest mtime for V0 and V1, else 0.
fn build_time(tree: &FileTree, version: FormatVersion, order: &Order<'_>) -> (i64, u32) {
    if !version.is_epoch1() {
        return (0, 0);
    }
    let times = order.nodes.iter().map(|node| View::new(tree, version, order, *node).mtime(version));
    times.min().unwrap_or_default()
}

/// Tells whether an inode has the short header.
pub(super) fn is_compact(view: &View<'_>, version: FormatVersion, size: u64, build_time: (i64, u32)) -> bool {
    version.is_epoch1()
        && view.mtime(version) == build_time
        && [view.nlink, view.stat.uid, view.stat.gid].iter().all(|value| *value <= u32::from(u16::MAX))
        && size <= u64::from(u32::MAX)
}

/// Returns the size an inode says it has.
pub(super) fn size(body: &Body<'_>, blocks: u64, tail: u64) -> u64 {
    match body {
        Body::Directory(_) => blocks * BLOCK_SIZE + tail,
        Body::Contents(bytes) | Body::Target(bytes) => bytes.len() as u64,
        Body::External(size) => *size,
        Body::Device(_) | Body::Nothing => 0,
    }
}

/// Returns the layout an inode says it has.
pub(super) fn data_layout(body: &Body<'_>, tail: u64) -> DataLayout {
    match body {
        Body::External(_) => DataLayout::Chunked,
        Body::Device(_) | Body::Nothing => DataLayout::Plain,
        Body::Directory(_) | Body::Contents(_) | Body::Target(_) if tail > 0 => DataLayout::Inline,
        Body::Directory(_) | Body::Contents(_) | Body::Target(_) => DataLayout::Plain,
    }
}

/// Splits an inode's data into whole blocks and a tail, before placement.
fn split(body: &Body<'_>, version: FormatVersion, order: &Order<'_>) -> Result<(u64, u64), Refusal> {
    Ok(match body {
        Body::Directory(id) => {
            let (blocks, tail) = dirent::measure(order.listing(*id));
            (blocks, tail as u64)
        }
        Body::Contents(bytes) if version.is_epoch1() => {
            let length = bytes.len() as u64;
            match (length / BLOCK_SIZE, length % BLOCK_SIZE) {
                (blocks, 2049..) => (blocks + 1, 0),
                split => split,
            }
        }
        Body::Contents(bytes) if bytes.len() as u64 >= BLOCK_SIZE => {
            return Err(Refusal::InlineContent(bytes.len()));
        }
        Body::Contents(bytes) | Body::Target(bytes) => (0, bytes.len() as u64),
        Body::External(size) if version.is_epoch1() => {
            let chunks = format::chunk_count(*size, format::chunk_bits(*size));
            if chunks > format::CHUNK_INDEXES_MAX {
                return Err(Refusal::FileTooBig(*size));
            }
            (0, 4 * chunks)
        }
        Body::External(_) => (0, 4),
        Body::Device(_) | Body::Nothing => (0, 0),
    })
}

/// Applies the rules on crossing blocks: returns where the inode begins, may turn its tail into a block.
fn place(pos: u64, body: &Body<'_>, version: FormatVersion, shape: &mut Shape) -> u64 {
    let (meta, tail) = (shape.meta, shape.tail);
    if !version.is_epoch1() {
        return place_v2(pos, body, meta, tail);
    }
    if let Body::Target(_) = body {
        let whole = meta + tail;
        if whole >= BLOCK_SIZE {
            (shape.blocks, shape.tail) = (1, 0);
        }
        let crosses = pos / BLOCK_SIZE != (pos + whole - 1) / BLOCK_SIZE;
        return if crosses { format::round_up(pos, BLOCK_SIZE) } else { pos };
    }
    let room = BLOCK_SIZE - (pos + meta) % BLOCK_SIZE;
    if room >= tail {
        return pos;
    }
    let extra = format::round_up(room, SLOT_SIZE);
    if tail <= BLOCK_SIZE - (pos + meta + extra) % BLOCK_SIZE {
        return pos + extra;
    }
    (shape.blocks, shape.tail) = (shape.blocks + 1, 0);
    format::round_up(pos, BLOCK_SIZE)
}

fn place_v2(pos: u64, body: &Body<'_>, meta: u64, tail: u64) -> u64 {
    if data_layout(body, tail) != DataLayout::Inline {
        return pos;
    }
    // One past the last byte, so that a tail ending with its block moves as well: part of the format.
    let (last, end) = (pos + meta - 1, pos + meta + tail);
    if last / BLOCK_SIZE == end / BLOCK_SIZE {
        return pos;
    }
    format::round_up(pos + BLOCK_SIZE - last % BLOCK_SIZE, SLOT_SIZE)
}
