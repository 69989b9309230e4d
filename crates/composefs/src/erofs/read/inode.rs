//! One inode: its header's fields, and where its attributes and contents are.

use crate::erofs::format::{
    BLOCK_SIZE, CompactInode, DataLayout, ExtendedInode, FORMAT_EXTENDED, INODES_OFFSET, S_IFDIR, S_IFLNK,
    S_IFMT, S_IFREG, SLOT_SIZE, dirent_type, xattr_area_size,
};

use super::{Fault, Image, dirent::Entries, dirent::Entry, slice, xattr::Xattrs};

/// An inode whose header, attributes and contents lie inside the image.
#[derive(Clone, Copy, Debug)]
pub struct Inode<'i> {
    image: Image<'i>,
    nid: u64,
    layout: DataLayout,
    fields: ExtendedInode,
    area: &'i [u8],
    blocks: &'i [u8],
    tail: &'i [u8],
}

/// Contents that are in the image: whole blocks, then the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents<'i> {
    /// In data blocks; all of it if there is no tail.
    pub blocks: &'i [u8],
    /// After the inode; less than a block.
    pub tail: &'i [u8],
}

impl Contents<'_> {
    /// Copies both parts into one.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        [self.blocks, self.tail].concat()
    }

    /// Returns the number of bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.blocks.len().saturating_add(self.tail.len())
    }

    /// Tells whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'i> Inode<'i> {
    pub(in crate::erofs) fn parse(image: Image<'i>, nid: u64) -> Result<Self, Fault> {
        let at = nid.checked_mul(SLOT_SIZE).filter(|at| *at >= INODES_OFFSET).ok_or(Fault::OutsideInodes)?;
        let head = usize::try_from(at)
            .ok()
            .and_then(|at| image.bytes.get(at..))
            .filter(|head| !head.is_empty())
            .ok_or(Fault::OutsideInodes)?;
        let (fields, header_size) = parse_header(&image, head)?;
        let layout = DataLayout::from_format(fields.format).ok_or(Fault::Layout(fields.format))?;
        if fields.mtime_nanos > if image.version.is_epoch1() { 999_999_999 } else { 0 } {
            return Err(Fault::Nanoseconds(fields.mtime_nanos));
        }
        check_type(&fields, layout)?;
        let after_header = at.saturating_add(header_size);
        let area_size = xattr_area_size(fields.xattr_icount);
        let area =
            slice(image.bytes, after_header, area_size).ok_or(Fault::OutsideImage("extended attributes"))?;
        let mut inode = Self { image, nid, layout, fields, area, blocks: &[], tail: &[] };
        if layout != DataLayout::Chunked {
            inode.locate(after_header.saturating_add(area_size))?;
        }
        Ok(inode)
    }

    /// Finds the blocks and the tail, which would begin at `tail_at`.
    fn locate(&mut self, tail_at: u64) -> Result<(), Fault> {
        let size = self.fields.size;
        if size > self.image.bytes.len() as u64 {
            return Err(Fault::Size(size));
        }
        let tail_size = if self.layout == DataLayout::Inline { size % BLOCK_SIZE } else { 0 };
        let blocks_size = size.saturating_sub(tail_size);
        if blocks_size > 0 {
            let blocks_at = u64::from(self.fields.u).saturating_mul(BLOCK_SIZE);
            self.blocks =
                slice(self.image.bytes, blocks_at, blocks_size).ok_or(Fault::OutsideImage("data blocks"))?;
        }
        self.tail = slice(self.image.bytes, tail_at, tail_size).ok_or(Fault::OutsideImage("contents"))?;
        let begin = self.nid.saturating_mul(SLOT_SIZE);
        if self.is_symlink()
            && self.layout == DataLayout::Inline
            && self.image.version.is_epoch1()
            && begin / BLOCK_SIZE != tail_at.saturating_add(tail_size).saturating_sub(1) / BLOCK_SIZE
        {
            return Err(Fault::SymlinkCrossesBlock);
        }
        Ok(())
    }

    /// Returns the image this is in.
    #[must_use]
    pub const fn image(&self) -> &Image<'i> {
        &self.image
    }

    /// Returns the number: byte offset / 32.
    #[must_use]
    pub const fn nid(&self) -> u64 {
        self.nid
    }

    /// Returns the number that `stat` shows.
    #[must_use]
    pub const fn ino(&self) -> u32 {
        self.fields.ino
    }

    /// Returns type and permissions as written: in V0 and V1 a whiteout is a regular file.
    #[must_use]
    pub const fn mode(&self) -> u16 {
        self.fields.mode
    }

    /// Returns the type bits of the mode.
    #[must_use]
    pub const fn type_bits(&self) -> u16 {
        self.fields.mode & S_IFMT
    }

    /// Returns the type as directory entries number it.
    #[must_use]
    pub const fn entry_type(&self) -> u8 {
        dirent_type(self.fields.mode)
    }

    /// Tells whether this is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        self.type_bits() == S_IFDIR
    }

    /// Tells whether this is a regular file.
    #[must_use]
    pub const fn is_regular(&self) -> bool {
        self.type_bits() == S_IFREG
    }

    /// Tells whether this is a symbolic link.
    #[must_use]
    pub const fn is_symlink(&self) -> bool {
        self.type_bits() == S_IFLNK
    }

    /// Tells whether the contents are outside the image, or nowhere.
    #[must_use]
    pub const fn is_external(&self) -> bool {
        matches!(self.layout, DataLayout::Chunked)
    }

    /// Returns the link count.
    #[must_use]
    pub const fn nlink(&self) -> u32 {
        self.fields.nlink
    }

    /// Returns the owner.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.fields.uid
    }

    /// Returns the group.
    #[must_use]
    pub const fn gid(&self) -> u32 {
        self.fields.gid
    }

    /// Returns the size in bytes: of a file, of a target, of a directory's entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.fields.size
    }

    /// Returns the modification time: seconds since 1970, nanoseconds.
    #[must_use]
    pub const fn mtime(&self) -> (i64, u32) {
        (self.fields.mtime_seconds, self.fields.mtime_nanos)
    }

    /// Returns the device number in the kernel's 32-bit encoding; without meaning for what is no device.
    #[must_use]
    pub const fn device_number(&self) -> u32 {
        self.fields.u
    }

    /// Returns the contents of a regular file, or a symlink's target; nothing for an external file.
    #[must_use]
    pub const fn contents(&self) -> Contents<'i> {
        Contents { blocks: self.blocks, tail: self.tail }
    }

    /// Returns the target of a symlink.
    ///
    /// # Errors
    /// [`Fault::SymlinkTarget`] if it is none that a file system can have, or this is no symlink.
    pub fn symlink_target(&self) -> Result<&'i [u8], Fault> {
        let target = if self.blocks.is_empty() { self.tail } else { self.blocks };
        let whole = target.len() == self.contents().len();
        if !self.is_symlink() || !whole || target.is_empty() || target.len() > 4095 || target.contains(&0) {
            return Err(Fault::SymlinkTarget);
        }
        Ok(target)
    }

    /// Walks the extended attributes as they are on disk: escaped, with those of overlayfs.
    #[must_use]
    pub fn xattrs(&self) -> Xattrs<'i> {
        Xattrs::new(&self.image, self.area)
    }

    /// Walks the names of a directory in order, `.` and `..` among them; nothing if this is none.
    #[must_use]
    pub const fn entries(&self) -> Entries<'i> {
        let contents =
            if self.is_directory() { self.contents() } else { Contents { blocks: &[], tail: &[] } };
        Entries::new(contents, self.image.nul_ends_names)
    }

    /// Finds a name in a directory by bisection; `.` and `..` are never found.
    ///
    /// # Errors
    /// Those of a name that is damaged; names not needed are not looked at.
    pub fn find(&self, name: &[u8]) -> Result<Option<Entry<'i>>, Fault> {
        self.entries().find(name)
    }

    /// Returns the bytes this inode takes: header, attributes, contents.
    pub(in crate::erofs) const fn footprint(&self) -> u64 {
        (SLOT_SIZE as usize).saturating_add(self.area.len()).saturating_add(self.contents().len()) as u64
    }
}

/// Reads a header of either size; a compact one is widened.
fn parse_header(image: &Image<'_>, head: &[u8]) -> Result<(ExtendedInode, u64), Fault> {
    let short = || Fault::OutsideImage("inode header's bytes");
    let compact = CompactInode::parse_prefix(head).ok_or_else(short)?;
    if compact.format & FORMAT_EXTENDED != 0 {
        let extended = ExtendedInode::parse_prefix(head).ok_or_else(short)?;
        return Ok((extended, ExtendedInode::SIZE as u64));
    }
    let fields = ExtendedInode {
        format: compact.format,
        xattr_icount: compact.xattr_icount,
        mode: compact.mode,
        size: u64::from(compact.size),
        u: compact.u,
        ino: compact.ino,
        uid: u32::from(compact.uid),
        gid: u32::from(compact.gid),
        mtime_seconds: image.build_seconds,
        mtime_nanos: image.build_nanos,
        nlink: u32::from(compact.nlink),
    };
    Ok((fields, CompactInode::SIZE as u64))
}

/// Refuses types that do not exist, and layouts and sizes that a type cannot have.
fn check_type(fields: &ExtendedInode, layout: DataLayout) -> Result<(), Fault> {
    let fits = match dirent_type(fields.mode) {
        0 => false,
        1 => true,
        2 | 7 => layout != DataLayout::Chunked,
        _ => layout == DataLayout::Plain && fields.size == 0,
    };
    if !fits {
        return Err(Fault::Type { mode: fields.mode, format: fields.format, size: fields.size });
    }
    Ok(())
}
