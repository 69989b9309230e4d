//! Writing images: layout first, then bytes in order, never the whole image in memory.
//!
//! # Format
//! `docs/formats/erofs.md`.

use std::io::{self, BufWriter, Write};

use crate::digest::{Algorithm, ObjectId, VerityHasher};
use crate::filetree::FileTree;

use super::dirent::{self, Blocks, Child};
use super::error::WriteError;
use super::format::{
    self, BLOCK_SIZE, CompactInode, ExtendedInode, FormatVersion, Header, SLOT_SIZE, Superblock,
};
use super::inode::{self, Body, View};
use super::layout::{self, Layout, Placed};
use super::options::WriteOptions;
use super::order::Order;
use super::xattr::{Area, XattrTable};

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteReport {
    /// Length of the image, a multiple of 4096.
    pub size_bytes: u64,
    /// Number of inodes, stubs included.
    pub inodes: u64,
}

/// Writes the image of a tree.
///
/// Everything is refused before the first byte is written; after that only `out` can fail. The tree is read
/// only: the stubs and marks that V0 and V1 add exist in the image alone.
///
/// # Errors
/// [`WriteError::Refused`] with the path of an inode that cannot be in an image of this version,
/// [`WriteError::TooLarge`], [`WriteError::Io`] if `out` fails.
///
/// # Format
/// `docs/formats/erofs.md`.
pub fn write(
    tree: &FileTree,
    version: FormatVersion,
    options: &WriteOptions,
    out: &mut dyn Write,
) -> Result<WriteReport, WriteError> {
    Image::new(tree, version, options)?.write(out)
}

/// Returns the image of a tree.
///
/// # Errors
/// Those of [`write()`].
pub fn to_vec(
    tree: &FileTree,
    version: FormatVersion,
    options: &WriteOptions,
) -> Result<Vec<u8>, WriteError> {
    let image = Image::new(tree, version, options)?;
    let mut bytes = Vec::with_capacity(usize::try_from(image.size_bytes()).unwrap_or_default());
    image.write(&mut bytes)?;
    Ok(bytes)
}

/// Returns the id that the image of a tree has: its fs-verity digest. The image is not kept.
///
/// # Errors
/// Those of [`write()`], and [`WriteError::Algorithm`] if the tree's objects have digests of another algorithm.
pub fn compute_id(
    tree: &FileTree,
    version: FormatVersion,
    algorithm: Algorithm,
    options: &WriteOptions,
) -> Result<ObjectId, WriteError> {
    let image = Image::new(tree, version, options)?;
    if let Some(objects) = image.order.algorithm
        && objects != algorithm
    {
        return Err(WriteError::Algorithm { objects, image: algorithm });
    }
    let mut hasher = HashWriter(VerityHasher::new(algorithm));
    image.write(&mut hasher)?;
    Ok(hasher.0.finish())
}

struct HashWriter(VerityHasher);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An image that is laid out but not written.
struct Image<'a> {
    tree: &'a FileTree,
    version: FormatVersion,
    order: Order<'a>,
    xattrs: XattrTable<'a>,
    layout: Layout,
}

/// Counts what it passes on.
struct Output<'w> {
    out: BufWriter<&'w mut dyn Write>,
    pos: u64,
}

impl Output<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pos += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Fills with zeros up to an offset.
    fn pad_to(&mut self, end: u64) -> io::Result<()> {
        self.fill_to(end, &[0; BLOCK_SIZE as usize])
    }

    fn fill_to(&mut self, end: u64, fill: &'static [u8; BLOCK_SIZE as usize]) -> io::Result<()> {
        while self.pos < end {
            let now = (end - self.pos).min(BLOCK_SIZE) as usize;
            self.put(&fill[..now])?;
        }
        Ok(())
    }
}

impl<'a> Image<'a> {
    fn new(tree: &'a FileTree, version: FormatVersion, options: &WriteOptions) -> Result<Self, WriteError> {
        let order = Order::new(tree, version, &options.primary_names)?;
        let xattrs = XattrTable::new(tree, version, &order)?;
        let layout = Layout::new(tree, version, &order, &xattrs)?;
        Ok(Self { tree, version, order, xattrs, layout })
    }

    fn size_bytes(&self) -> u64 {
        u64::from(self.layout.blocks) * BLOCK_SIZE
    }

    fn write(&self, out: &mut dyn Write) -> Result<WriteReport, WriteError> {
        let mut out = Output { out: BufWriter::with_capacity(1 << 16, out), pos: 0 };
        self.write_head(&mut out)?;
        self.write_inodes(&mut out)?;
        out.pad_to(self.layout.inodes_end)?;
        self.xattrs.append_table(|entry| out.put(entry))?;
        out.pad_to(u64::from(self.layout.data_block) * BLOCK_SIZE)?;
        self.write_data(&mut out)?;
        out.out.flush()?;
        debug_assert_eq!(out.pos, self.size_bytes());
        Ok(WriteReport { size_bytes: out.pos, inodes: self.order.nodes.len() as u64 })
    }

    fn write_head(&self, out: &mut Output<'_>) -> io::Result<()> {
        let epoch1 = self.version.is_epoch1();
        let header = Header {
            magic: format::HEADER_MAGIC,
            version: format::HEADER_VERSION,
            flags: if epoch1 && self.xattrs.has_acl { format::HEADER_FLAG_ACL } else { 0 },
            composefs_version: self.version.number(),
        };
        let superblock = Superblock {
            magic: format::SUPERBLOCK_MAGIC,
            feature_compat: format::FEATURE_COMPAT_MTIME | format::FEATURE_COMPAT_XATTR_FILTER,
            block_bits: format::BLOCK_BITS,
            // The layout refused a root that does not fit.
            root_nid: self.layout.placed(0).nid as u16,
            inode_count: self.order.nodes.len() as u64,
            build_seconds: self.layout.build_time.0,
            build_nanos: self.layout.build_time.1,
            blocks: self.layout.blocks,
            xattr_block: if epoch1 { (self.layout.inodes_end / BLOCK_SIZE) as u32 } else { 0 },
            ..Superblock::default()
        };
        out.put(&header.to_bytes())?;
        out.pad_to(format::SUPERBLOCK_OFFSET)?;
        out.put(&superblock.to_bytes())
    }

    fn write_inodes(&self, out: &mut Output<'_>) -> Result<(), WriteError> {
        // References count from the superblock's xattr block.
        let xattr_bias = if self.version.is_epoch1() {
            self.layout.inodes_end % BLOCK_SIZE
        } else {
            self.layout.inodes_end
        };
        let mut area = Area::default();
        let mut bytes = Vec::new();
        for (number, node) in (0..).zip(&self.order.nodes) {
            let placed = self.layout.placed(number);
            let view = View::new(self.tree, self.version, &self.order, *node);
            self.xattrs.area_of(number, *node, &mut area)?;
            bytes.clear();
            self.append_header(number, &view, placed, self.xattrs.area_size(&area), &mut bytes);
            self.xattrs.append_area(&area, xattr_bias, &mut bytes);
            self.append_tail(&view, placed, &mut bytes);
            out.pad_to(u64::from(placed.nid) * SLOT_SIZE)?;
            out.put(&bytes)?;
        }
        Ok(())
    }

    fn append_header(&self, number: u32, view: &View<'_>, placed: Placed, area: u64, out: &mut Vec<u8>) {
        let (blocks, tail) = (u64::from(placed.blocks), u64::from(placed.tail));
        let size = layout::size(&view.body, blocks, tail);
        let data_layout = layout::data_layout(&view.body, tail);
        // The layout refused areas that do not fit.
        let xattr_icount = if area == 0 { 0 } else { ((area - 12) / 4 + 1) as u16 };
        let u = self.inode_u(view, placed);
        let ino = if self.version.is_epoch1() { number } else { placed.nid };
        let (mtime_seconds, mtime_nanos) = view.mtime(self.version);
        if layout::is_compact(view, self.version, size, self.layout.build_time) {
            let inode = CompactInode {
                format: data_layout.format(false),
                xattr_icount,
                mode: view.mode,
                nlink: view.nlink as u16,
                size: size as u32,
                u,
                ino,
                uid: view.stat.uid as u16,
                gid: view.stat.gid as u16,
            };
            out.extend_from_slice(&inode.to_bytes());
            return;
        }
        let inode = ExtendedInode {
            format: data_layout.format(true),
            xattr_icount,
            mode: view.mode,
            size,
            u,
            ino,
            uid: view.stat.uid,
            gid: view.stat.gid,
            mtime_seconds,
            mtime_nanos,
            nlink: view.nlink,
        };
        out.extend_from_slice(&inode.to_bytes());
    }

    /// Returns the field that means a block, a chunk format or a device.
    fn inode_u(&self, view: &View<'_>, placed: Placed) -> u32 {
        let block = self.layout.data_block + placed.first_block;
        match view.body {
            Body::Device(number) => number,
            Body::External(_) if !self.version.is_epoch1() => format::CHUNK_FORMAT_V2,
            Body::External(size) => {
                let format = format::chunk_bits(size) - u32::from(format::BLOCK_BITS);
                // The C tools let the block number and the format share the field.
                if placed.blocks > 0 { block & 0xffff_0000 | format } else { format }
            }
            _ if placed.blocks > 0 => block,
            _ => 0,
        }
    }

    fn append_tail(&self, view: &View<'_>, placed: Placed, out: &mut Vec<u8>) {
        if placed.tail == 0 {
            return;
        }
        let tail = usize::from(placed.tail);
        match view.body {
            Body::Directory(id) => {
                let mut blocks = Blocks::new(self.order.listing(id));
                for _ in 0..placed.blocks {
                    blocks.next_block();
                }
                if let Some(block) = blocks.next_block() {
                    dirent::append_block(out, block, |child| self.resolve(id, child));
                }
            }
            Body::Contents(bytes) | Body::Target(bytes) => {
                out.extend_from_slice(&bytes[bytes.len() - tail..]);
            }
            Body::External(_) => out.resize(out.len() + tail, 0xff),
            Body::Device(_) | Body::Nothing => {}
        }
    }

    /// Returns nid and type of what a name leads to.
    fn resolve(&self, directory: crate::filetree::InodeId, child: Child) -> (u64, u8) {
        let (number, file_type) = match child {
            Child::Itself => (self.order.number(directory), format::S_IFDIR),
            Child::Parent => (self.order.number(self.order.parent(directory)), format::S_IFDIR),
            Child::Stub(stub) => (self.order.stub_number(stub), format::S_IFCHR),
            Child::Inode(id) => {
                (self.order.number(id), inode::written_type(&self.tree.inode(id).kind, self.version))
            }
        };
        (u64::from(self.layout.placed(number).nid), format::dirent_type(file_type))
    }

    fn write_data(&self, out: &mut Output<'_>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (number, node) in (0..).zip(&self.order.nodes) {
            let placed = self.layout.placed(number);
            if placed.blocks == 0 {
                continue;
            }
            let end = out.pos + u64::from(placed.blocks) * BLOCK_SIZE;
            let view = View::new(self.tree, self.version, &self.order, *node);
            match view.body {
                Body::Directory(id) => {
                    let mut blocks = Blocks::new(self.order.listing(id));
                    for _ in 0..placed.blocks {
                        bytes.clear();
                        if let Some(block) = blocks.next_block() {
                            dirent::append_block(&mut bytes, block, |child| self.resolve(id, child));
                        }
                        bytes.resize(BLOCK_SIZE as usize, 0);
                        out.put(&bytes)?;
                    }
                }
                Body::Contents(contents) | Body::Target(contents) => {
                    out.put(&contents[..contents.len() - usize::from(placed.tail)])?;
                }
                Body::External(_) => out.fill_to(end, &[0xff; BLOCK_SIZE as usize])?,
                Body::Device(_) | Body::Nothing => {}
            }
            out.pad_to(end)?;
        }
        Ok(())
    }
}
