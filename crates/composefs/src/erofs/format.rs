//! Structs on disk, constants and encodings that the writer and the reader of images share.
//!
//! In: byte arrays of the right size, out: fields, and back. Nothing here allocates or trusts a field.
//!
//! # Format
//! `docs/formats/erofs.md`, sections 1, 3 and 5. All integers are little endian.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

/// Block size in bytes.
pub const BLOCK_SIZE: u64 = 4096;
/// Logarithm of the block size, as the superblock has it.
pub const BLOCK_BITS: u8 = 12;
/// Inodes lie at multiples of this; a nid is an offset divided by it.
pub const SLOT_SIZE: u64 = 32;
/// Offset of the composefs header.
pub const HEADER_OFFSET: u64 = 0;
/// Offset of the EROFS superblock.
pub const SUPERBLOCK_OFFSET: u64 = 1024;
/// Offset of the first inode slot.
pub const INODES_OFFSET: u64 = 1152;

/// The composefs header's magic.
pub const HEADER_MAGIC: u32 = 0xd078_629a;
/// The composefs header's own version.
pub const HEADER_VERSION: u32 = 1;
/// Header flag of V0 and V1: some inode has a POSIX ACL.
pub const HEADER_FLAG_ACL: u32 = 1;
/// The superblock's magic.
pub const SUPERBLOCK_MAGIC: u32 = 0xe0f5_e1e2;
/// Compatible feature: the superblock has a checksum. Never written.
pub const FEATURE_COMPAT_CHECKSUM: u32 = 1;
/// Compatible feature: compact inodes have the build time as their mtime.
pub const FEATURE_COMPAT_MTIME: u32 = 2;
/// Compatible feature: xattr areas begin with a name filter.
pub const FEATURE_COMPAT_XATTR_FILTER: u32 = 4;
/// Incompatible feature: chunk based files. Never written, though chunk based files are.
pub const FEATURE_INCOMPAT_CHUNKED: u32 = 4;

/// Bit 0 of `i_format`: the inode header is an [`ExtendedInode`].
pub const FORMAT_EXTENDED: u16 = 1;
/// Chunk index, and block number, that says there is none.
pub const NO_BLOCK: u32 = u32::MAX;
/// Most chunk indexes an inode of V0 and V1 may have.
pub const CHUNK_INDEXES_MAX: u64 = 1024;
/// The chunk format of every external file in V2.
pub const CHUNK_FORMAT_V2: u32 = 31;

/// The file type bits in `st_mode`.
pub const S_IFMT: u16 = 0o170_000;
/// A named pipe in `st_mode`.
pub const S_IFIFO: u16 = 0o010_000;
/// A character device in `st_mode`.
pub const S_IFCHR: u16 = 0o020_000;
/// A directory in `st_mode`.
pub const S_IFDIR: u16 = 0o040_000;
/// A block device in `st_mode`.
pub const S_IFBLK: u16 = 0o060_000;
/// A regular file in `st_mode`.
pub const S_IFREG: u16 = 0o100_000;
/// A symbolic link in `st_mode`.
pub const S_IFLNK: u16 = 0o120_000;
/// A socket in `st_mode`.
pub const S_IFSOCK: u16 = 0o140_000;

/// Xattrs with this prefix mean something to overlayfs, so the tree's own are escaped.
pub const XATTR_OVERLAY: &[u8] = b"trusted.overlay.";
/// What [`XATTR_OVERLAY`] becomes when it is escaped.
pub const XATTR_ESCAPED: &[u8] = b"trusted.overlay.overlay.";
/// Names the digest of an external file's object.
pub const XATTR_METACOPY: &[u8] = b"trusted.overlay.metacopy";
/// Names the path of an external file's object.
pub const XATTR_REDIRECT: &[u8] = b"trusted.overlay.redirect";
/// On the root directory in V0 and V1, with the value `y`.
pub const XATTR_ROOT_OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// On a regular file that stands for a whiteout in V0 and V1; both, empty.
pub const XATTR_WHITEOUT: [&[u8]; 2] = [b"trusted.overlay.overlay.whiteout", b"user.overlay.whiteout"];
/// On a directory that has whiteouts in V0 and V1; both, empty.
pub const XATTR_WHITEOUTS: [&[u8]; 2] = [b"trusted.overlay.overlay.whiteouts", b"user.overlay.whiteouts"];
/// On a directory that has whiteouts in V1; both, with the value `x`.
pub const XATTR_WHITEOUT_OPAQUE: [&[u8]; 2] = [b"trusted.overlay.overlay.opaque", b"user.overlay.opaque"];
/// The xattr names that set [`HEADER_FLAG_ACL`].
pub const XATTR_ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// The layouts of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FormatVersion {
    /// The first layout of the C tools.
    V0,
    /// The same, with whiteouts that survive a second overlayfs. The default.
    #[default]
    V1,
    /// The layout of composefs 0.3.
    V2,
}

impl FormatVersion {
    /// All versions.
    pub const ALL: [Self; 3] = [Self::V0, Self::V1, Self::V2];

    /// Returns the number in the header: 0, 1 or 2.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// Finds the version by its number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::V0),
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            _ => None,
        }
    }

    /// Tells whether this is V0 or V1, which share nearly everything.
    #[must_use]
    pub const fn is_epoch1(self) -> bool {
        matches!(self, Self::V0 | Self::V1)
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.number(), f)
    }
}

/// Where an inode's data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataLayout {
    /// In blocks only, or nowhere.
    Plain,
    /// In blocks, and the rest after the xattrs.
    Inline,
    /// Outside the image; chunk indexes follow the xattrs.
    Chunked,
}

impl DataLayout {
    /// Returns the number in bits 1 to 3 of `i_format`.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Plain => 0,
            Self::Inline => 2,
            Self::Chunked => 4,
        }
    }

    /// Finds the layout that a whole `i_format` names; `None` for others and for unknown bits.
    #[must_use]
    pub const fn from_format(format: u16) -> Option<Self> {
        match format >> 1 {
            0 => Some(Self::Plain),
            2 => Some(Self::Inline),
            4 => Some(Self::Chunked),
            _ => None,
        }
    }

    /// Returns the whole `i_format`.
    #[must_use]
    pub const fn format(self, extended: bool) -> u16 {
        self.number() << 1 | if extended { FORMAT_EXTENDED } else { 0 }
    }
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(value) {
        *to = *from;
    }
}

/// Declares a struct with the offset of each field, ascending, and its size, all checked when compiled.
macro_rules! on_disk {
    ($(#[$doc:meta])* $name:ident: $size:literal {
        $($(#[$field_doc:meta])* $at:literal $field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// Bytes on disk.
            pub const SIZE: usize = $size;

            /// Reads the fields; bytes that belong to none are ignored.
            #[must_use]
            pub fn parse(bytes: &[u8; $size]) -> Self {
                Self { $($field: <$type>::from_le_bytes(get(bytes, $at)),)* }
            }

            /// Reads the fields at the head of a slice, or `None` if it is too short.
            #[must_use]
            pub fn parse_prefix(bytes: &[u8]) -> Option<Self> {
                bytes.first_chunk().map(Self::parse)
            }

            /// Returns the bytes; those that belong to no field are 0.
            #[must_use]
            pub fn to_bytes(&self) -> [u8; $size] {
                let mut bytes = [0; $size];
                $(put(&mut bytes, $at, &self.$field.to_le_bytes());)*
                bytes
            }
        }

        #[allow(clippy::arithmetic_side_effects)]
        const _: () = {
            let mut end = 0;
            $(
                assert!($at >= end && $at % size_of::<$type>() == 0);
                end = $at + size_of::<$type>();
            )*
            assert!(end <= $size);
        };
    };
}

on_disk! {
    /// The composefs header at offset 0.
    Header: 32 {
        /// [`HEADER_MAGIC`].
        0 magic: u32,
        /// [`HEADER_VERSION`].
        4 version: u32,
        /// [`HEADER_FLAG_ACL`] or 0.
        8 flags: u32,
        /// The number of a [`FormatVersion`].
        12 composefs_version: u32,
    }
}

on_disk! {
    /// The EROFS superblock at [`SUPERBLOCK_OFFSET`].
    Superblock: 128 {
        /// [`SUPERBLOCK_MAGIC`].
        0 magic: u32,
        /// 0: there is no checksum.
        4 checksum: u32,
        /// Bits of `FEATURE_COMPAT_*`.
        8 feature_compat: u32,
        /// [`BLOCK_BITS`].
        12 block_bits: u8,
        /// Slots that follow the superblock: 0.
        13 extension_slots: u8,
        /// The root directory.
        14 root_nid: u16,
        /// Number of inodes.
        16 inode_count: u64,
        /// The mtime of compact inodes, seconds.
        24 build_seconds: i64,
        /// The mtime of compact inodes, nanoseconds.
        32 build_nanos: u32,
        /// Length of the image in blocks.
        36 blocks: u32,
        /// The block nids count from: 0.
        40 meta_block: u32,
        /// The block shared xattrs count from.
        44 xattr_block: u32,
        /// Bits of `FEATURE_INCOMPAT_*`: 0.
        80 feature_incompat: u32,
        /// Compression algorithms: 0.
        84 compression: u16,
        /// Extra devices: 0.
        86 extra_devices: u16,
        /// Slot of the extra devices: 0.
        88 device_slot: u16,
        /// Directory blocks larger than blocks: 0.
        90 directory_block_bits: u8,
        /// Long xattr prefixes: 0.
        91 xattr_prefix_count: u8,
        /// Start of the long xattr prefixes: 0.
        92 xattr_prefix_start: u32,
        /// Packed inode: 0.
        96 packed_nid: u64,
        /// Reserved for the xattr filter: 0.
        104 xattr_filter_reserved: u8,
    }
}

on_disk! {
    /// The short inode header: small numbers, the superblock's mtime. V0 and V1 only.
    CompactInode: 32 {
        /// [`DataLayout::format`].
        0 format: u16,
        /// 0, or the xattr area's size: see [`xattr_area_size`].
        2 xattr_icount: u16,
        /// Type and permissions.
        4 mode: u16,
        /// Link count.
        6 nlink: u16,
        /// Size in bytes.
        8 size: u32,
        /// Block number, chunk format or device number.
        16 u: u32,
        /// Inode number.
        20 ino: u32,
        /// Owner.
        24 uid: u16,
        /// Group.
        26 gid: u16,
    }
}

on_disk! {
    /// The long inode header.
    ExtendedInode: 64 {
        /// [`DataLayout::format`].
        0 format: u16,
        /// 0, or the xattr area's size: see [`xattr_area_size`].
        2 xattr_icount: u16,
        /// Type and permissions.
        4 mode: u16,
        /// Size in bytes.
        8 size: u64,
        /// Block number, chunk format or device number.
        16 u: u32,
        /// Inode number.
        20 ino: u32,
        /// Owner.
        24 uid: u32,
        /// Group.
        28 gid: u32,
        /// Modification time, seconds.
        32 mtime_seconds: i64,
        /// Modification time, nanoseconds.
        40 mtime_nanos: u32,
        /// Link count.
        44 nlink: u32,
    }
}

on_disk! {
    /// The head of an inode's xattr area; shared references and inline entries follow.
    XattrHeader: 12 {
        /// Complement of the names' bits: see [`xattr_filter_bit`].
        0 filter: u32,
        /// Number of 4-byte references.
        4 shared_count: u8,
    }
}

on_disk! {
    /// The head of one xattr; suffix and value follow, then zeros up to a multiple of 4.
    XattrEntry: 4 {
        /// Length of the name without its prefix.
        0 suffix_length: u8,
        /// Index of the prefix: see [`xattr_prefix`].
        1 index: u8,
        /// Length of the value.
        2 value_size: u16,
    }
}

on_disk! {
    /// A directory entry; the names follow the entries of a block.
    Dirent: 12 {
        /// The inode.
        0 nid: u64,
        /// Where the name begins, from the start of the block.
        8 name_offset: u16,
        /// Its type: see [`dirent_type`].
        10 file_type: u8,
    }
}

/// Prefixes of xattr names by index; the lengths of the two ACL names are the whole names.
const XATTR_PREFIXES: [(u8, &[u8]); 6] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (5, b"lustre."),
    (6, b"security."),
];

/// Returns the prefix of an index; 0 has the empty one.
#[must_use]
pub fn xattr_prefix(index: u8) -> Option<&'static [u8]> {
    if index == 0 {
        return Some(b"");
    }
    XATTR_PREFIXES.iter().find(|(have, _)| *have == index).map(|(_, prefix)| *prefix)
}

/// Splits a full name into prefix index and suffix as `version` writes it.
#[must_use]
pub fn split_xattr_name(name: &[u8], version: FormatVersion) -> (u8, &[u8]) {
    XATTR_PREFIXES
        .iter()
        .filter(|(index, _)| *index != 5 || !version.is_epoch1())
        .find_map(|(index, prefix)| Some((*index, name.strip_prefix(*prefix)?)))
        .unwrap_or((0, name))
}

/// Returns the bit a name clears in the filter of its inode.
#[must_use]
pub fn xattr_filter_bit(index: u8, suffix: &[u8]) -> u32 {
    let seed = 0x25bb_e08f_u32.wrapping_add(u32::from(index));
    1 << (twox_hash::XxHash32::oneshot(seed, suffix) & 31)
}

/// Returns the size in bytes of the xattr area that an `xattr_icount` says.
#[must_use]
pub const fn xattr_area_size(icount: u16) -> u64 {
    match icount {
        0 => 0,
        count => 8_u64.saturating_add((count as u64).saturating_mul(4)),
    }
}

/// Returns the number for directory entries of the type in a mode: 1 regular, 2 directory, 3 and 4 character
/// and block device, 5 fifo, 6 socket, 7 symlink; 0 for no type.
#[must_use]
pub const fn dirent_type(mode: u16) -> u8 {
    match mode & S_IFMT {
        S_IFREG => 1,
        S_IFDIR => 2,
        S_IFCHR => 3,
        S_IFBLK => 4,
        S_IFIFO => 5,
        S_IFSOCK => 6,
        S_IFLNK => 7,
        _ => 0,
    }
}

/// Returns the logarithm of the chunk size that V0 and V1 choose for a file.
#[must_use]
pub const fn chunk_bits(size: u64) -> u32 {
    let needed = if size <= 1 { 1 } else { 64_u32.saturating_sub(size.saturating_sub(1).leading_zeros()) };
    match needed {
        ..12 => 12,
        12..=43 => needed,
        _ => 43,
    }
}

/// Returns how many chunks of 2^`bits` bytes a file has; `bits` below 64.
#[must_use]
pub const fn chunk_count(size: u64, bits: u32) -> u64 {
    match 1_u64.checked_shl(bits) {
        Some(chunk) => size.div_ceil(chunk),
        None => 1,
    }
}

/// Rounds up to a multiple of `step`, which is a power of two; saturates at the greatest such multiple.
#[must_use]
pub const fn round_up(value: u64, step: u64) -> u64 {
    let mask = step.wrapping_sub(1);
    match value.checked_add(mask) {
        Some(sum) => sum & !mask,
        None => !mask,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_at_the_first_prefix() {
        for (name, index, suffix) in [
            (&b"user.a"[..], 1, &b"a"[..]),
            (b"user.", 1, b""),
            (b"user", 0, b"user"),
            (b"system.posix_acl_access", 2, b""),
            (b"system.posix_acl_accessX", 2, b"X"),
            (b"trusted.overlay.metacopy", 4, b"overlay.metacopy"),
            (b"security.selinux", 6, b"selinux"),
        ] {
            for version in FormatVersion::ALL {
                assert_eq!(split_xattr_name(name, version), (index, suffix));
            }
        }
        assert_eq!(split_xattr_name(b"lustre.x", FormatVersion::V1), (0, &b"lustre.x"[..]));
        assert_eq!(split_xattr_name(b"lustre.x", FormatVersion::V2), (5, &b"x"[..]));
    }

    #[test]
    fn chunks_follow_the_size() {
        for (size, bits) in [(0, 12), (1, 12), (4096, 12), (4097, 13), (1 << 43, 43), (u64::MAX, 43)] {
            assert_eq!(chunk_bits(size), bits, "{size}");
        }
        assert_eq!(chunk_count((1 << 53) + 1, 43), 1025);
    }

    #[test]
    fn bytes_of_no_field_are_zero() {
        let inode = ExtendedInode { format: 9, nlink: 1, mtime_seconds: -1, ..ExtendedInode::default() };
        let bytes = inode.to_bytes();
        assert_eq!(ExtendedInode::parse(&bytes), inode);
        assert_eq!(bytes[32..48], [255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(bytes[48..], [0; 16]);
    }
}
