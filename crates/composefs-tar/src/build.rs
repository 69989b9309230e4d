//! Entries back to header bytes, and archives of any oddity for tests.
//!
//! [`entry_headers`] is the ordinary way: one ustar header, PAX records in front of it where they are needed,
//! the same bytes for the same entry always. [`HeaderBuilder`] and [`Archive`] write what they are told.

use thiserror::Error;

use crate::entry::{Content, Entry, EntryKind};
use crate::header::{BLOCK_SIZE, Block, Format, padding};
use crate::pax::Mtime;
use crate::show::Shown;

const OCTAL_8: u64 = 0o777_7777;
const OCTAL_12: u64 = 0o777_7777_7777;

/// Why an entry cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Readers would refuse it.
    #[error("entry without a path")]
    EmptyPath,
    /// PAX keys are UTF-8 and end at the first `=`.
    #[error("entry {}: tar cannot hold the extended attribute {}", Shown(.path), Shown(.name))]
    XattrName {
        /// The entry.
        path: Vec<u8>,
        /// The attribute.
        name: Vec<u8>,
    },
    /// Sparse files are not written; expand them first.
    #[error("entry {}: sparse", Shown(.path))]
    Sparse {
        /// The entry.
        path: Vec<u8>,
    },
}

/// Writes one header block field by field. Numbers are octal where that fits, else base 256.
#[derive(Debug, Clone)]
pub struct HeaderBuilder {
    block: Block,
}

impl HeaderBuilder {
    /// Starts a ustar header of that type, with mode 0644 and all other numbers zero.
    pub fn new(type_flag: u8) -> Self {
        let header = Self { block: [0; BLOCK_SIZE] }.format(Format::Ustar).mode(0o644).uid(0).gid(0);
        header.size(0).mtime(0).device(0, 0).raw(156, &[type_flag])
    }

    /// Overwrites bytes; what would not fit into the block is cut off.
    #[must_use]
    pub fn raw(mut self, offset: usize, bytes: &[u8]) -> Self {
        for (to, from) in self.block.iter_mut().skip(offset).zip(bytes) {
            *to = *from;
        }
        self
    }

    /// Sets magic and version.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        self.raw(
            257,
            match format {
                Format::V7 => &[0; 8],
                Format::Ustar => b"ustar\x0000",
                Format::Gnu => b"ustar  \0",
            },
        )
    }

    /// Sets the name field, at most 100 bytes.
    #[must_use]
    pub fn name(self, name: &[u8]) -> Self {
        self.text(0, 100, name)
    }

    /// Sets the prefix field, at most 155 bytes.
    #[must_use]
    pub fn prefix(self, prefix: &[u8]) -> Self {
        self.text(345, 155, prefix)
    }

    /// Sets the link name, at most 100 bytes.
    #[must_use]
    pub fn link(self, target: &[u8]) -> Self {
        self.text(157, 100, target)
    }

    /// Sets the mode.
    #[must_use]
    pub fn mode(self, mode: u64) -> Self {
        self.number(100, 8, i128::from(mode))
    }

    /// Sets the owner.
    #[must_use]
    pub fn uid(self, uid: u64) -> Self {
        self.number(108, 8, i128::from(uid))
    }

    /// Sets the group.
    #[must_use]
    pub fn gid(self, gid: u64) -> Self {
        self.number(116, 8, i128::from(gid))
    }

    /// Sets the size in bytes.
    #[must_use]
    pub fn size(self, size: u64) -> Self {
        self.number(124, 12, i128::from(size))
    }

    /// Sets the modification time, in seconds.
    #[must_use]
    pub fn mtime(self, seconds: i64) -> Self {
        self.number(136, 12, i128::from(seconds))
    }

    /// Sets the device number; each part at most 2^21 - 1.
    #[must_use]
    pub fn device(self, major: u32, minor: u32) -> Self {
        self.number(329, 8, i128::from(major)).number(337, 8, i128::from(minor))
    }

    /// Computes the checksum and returns the block.
    pub fn build(self) -> Block {
        let header = self.raw(148, &[b' '; 8]);
        let sum: u32 = header.block.iter().map(|&byte| u32::from(byte)).sum();
        header.raw(148, format!("{sum:06o}\0 ").as_bytes()).block
    }

    fn text(self, offset: usize, size: usize, text: &[u8]) -> Self {
        let field: Vec<u8> = text.iter().copied().chain(std::iter::repeat(0)).take(size).collect();
        self.raw(offset, &field)
    }

    fn number(self, offset: usize, size: usize, value: i128) -> Self {
        let digits = size.saturating_sub(1);
        let text = format!("{value:0digits$o}");
        if value >= 0 && text.len() == digits {
            return self.raw(offset, text.as_bytes()).raw(offset.saturating_add(digits), &[0]);
        }
        let mut field: Vec<u8> = value.to_be_bytes().into_iter().rev().take(size).rev().collect();
        if let Some(first) = field.first_mut() {
            *first |= 0x80;
        }
        self.raw(offset, &field)
    }
}

/// Formats a PAX record: its own length, a blank, `key=value`, a newline.
pub fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len().saturating_add(value.len()).saturating_add(3);
    let mut total = rest;
    // The length counts its own digits.
    while total.to_string().len().saturating_add(rest) != total {
        total = total.to_string().len().saturating_add(rest);
    }
    [total.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// Writes the headers of an entry: what stands in the archive in front of its contents.
///
/// The contents, if it is a regular file, and their padding up to 512 bytes are the caller's to add.
///
/// # Errors
/// [`BuildError`] for what a tar header cannot say.
pub fn entry_headers(entry: &Entry) -> Result<Vec<u8>, BuildError> {
    let mut records = Vec::new();
    let mut record = |key: &[u8], value: &[u8]| records.extend(pax_record(key, value));
    if entry.path.is_empty() {
        return Err(BuildError::EmptyPath);
    }
    let needs_record = |text: &[u8]| text.len() > 100 || text.contains(&0);
    if needs_record(&entry.path) {
        record(b"path", &entry.path);
    }
    let header = HeaderBuilder::new(type_flag(&entry.kind)).name(&entry.path).mode(u64::from(entry.mode));
    let mut header = match &entry.kind {
        EntryKind::Regular { content: Content::Sparse(_), .. } => {
            return Err(BuildError::Sparse { path: entry.path.clone() });
        }
        EntryKind::Regular { size, .. } if *size > OCTAL_12 => {
            record(b"size", size.to_string().as_bytes());
            header
        }
        EntryKind::Regular { size, .. } => header.size(*size),
        EntryKind::Hardlink { target } | EntryKind::Symlink { target } => {
            if needs_record(target) {
                record(b"linkpath", target);
            }
            header.link(target)
        }
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            header.device(*major, *minor)
        }
        EntryKind::Directory | EntryKind::Fifo => header,
    };
    match u64::from(entry.uid) {
        uid if uid > OCTAL_8 => record(b"uid", uid.to_string().as_bytes()),
        uid => header = header.uid(uid),
    }
    match u64::from(entry.gid) {
        gid if gid > OCTAL_8 => record(b"gid", gid.to_string().as_bytes()),
        gid => header = header.gid(gid),
    }
    let fits = u64::try_from(entry.mtime.seconds).is_ok_and(|seconds| seconds <= OCTAL_12);
    if fits {
        header = header.mtime(entry.mtime.seconds);
    }
    if !fits || entry.mtime.nanos != 0 {
        record(b"mtime", mtime_text(entry.mtime).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        if name.is_empty() || name.contains(&b'=') || str::from_utf8(name).is_err() {
            return Err(BuildError::XattrName { path: entry.path.clone(), name: name.clone() });
        }
        record(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    let mut archive = Archive::new();
    if !records.is_empty() {
        archive = archive.member(HeaderBuilder::new(b'x').name(b"PaxHeaders/entry"), &records);
    }
    Ok(archive.raw(&header.build()).into_bytes())
}

fn type_flag(kind: &EntryKind) -> u8 {
    match kind {
        EntryKind::Regular { .. } => b'0',
        EntryKind::Hardlink { .. } => b'1',
        EntryKind::Symlink { .. } => b'2',
        EntryKind::CharDevice { .. } => b'3',
        EntryKind::BlockDevice { .. } => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
    }
}

/// The time as one decimal number; before 1970 the fraction counts away from zero.
fn mtime_text(Mtime { seconds, nanos }: Mtime) -> String {
    let text = match nanos {
        0 => return seconds.to_string(),
        nanos if seconds < 0 => {
            let whole = seconds.saturating_add(1).unsigned_abs();
            format!("-{whole}.{:09}", 1_000_000_000_u32.saturating_sub(nanos))
        }
        nanos => format!("{seconds}.{nanos:09}"),
    };
    text.trim_end_matches('0').to_owned()
}

/// An archive in memory, member after member. For tests and small archives: it is held whole.
#[derive(Debug, Clone, Default)]
pub struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    /// Starts an empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends data and the zeros that fill their last block.
    #[must_use]
    pub fn padded(self, data: &[u8]) -> Self {
        let fill = usize::try_from(padding(data.len() as u64)).unwrap_or(0);
        self.raw(data).raw(vec![0; fill].as_slice())
    }

    /// Appends a header, with the size of `data`, and the data.
    #[must_use]
    pub fn member(self, header: HeaderBuilder, data: &[u8]) -> Self {
        self.raw(&header.size(data.len() as u64).build()).padded(data)
    }

    /// Appends PAX records for the next member.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let data: Vec<u8> =
            records.iter().flat_map(|(key, value)| pax_record(key.as_bytes(), value)).collect();
        self.member(HeaderBuilder::new(b'x').name(b"PaxHeaders/x"), &data)
    }

    /// Appends a GNU long name for the next member.
    #[must_use]
    pub fn long_name(self, name: &[u8]) -> Self {
        self.long(b'L', name)
    }

    /// Appends a GNU long link name for the next member.
    #[must_use]
    pub fn long_link(self, target: &[u8]) -> Self {
        self.long(b'K', target)
    }

    /// Appends a regular file.
    #[must_use]
    pub fn file(self, name: &[u8], data: &[u8]) -> Self {
        self.member(HeaderBuilder::new(b'0').name(name), data)
    }

    /// Appends a directory with mode 0755.
    #[must_use]
    pub fn directory(self, name: &[u8]) -> Self {
        self.member(HeaderBuilder::new(b'5').name(name).mode(0o755), b"")
    }

    /// Appends a symbolic link.
    #[must_use]
    pub fn symlink(self, name: &[u8], target: &[u8]) -> Self {
        self.member(HeaderBuilder::new(b'2').name(name).link(target).mode(0o777), b"")
    }

    /// Appends a hard link.
    #[must_use]
    pub fn hardlink(self, name: &[u8], target: &[u8]) -> Self {
        self.member(HeaderBuilder::new(b'1').name(name).link(target), b"")
    }

    /// Appends an entry, of a regular file with `contents`, which must have the entry's size.
    ///
    /// # Errors
    /// [`BuildError`] for what a tar header cannot say.
    pub fn entry(self, entry: &Entry, contents: &[u8]) -> Result<Self, BuildError> {
        Ok(self.raw(&entry_headers(entry)?).padded(contents))
    }

    /// Appends the two zero blocks that end an archive and returns it.
    pub fn finish(self) -> Vec<u8> {
        self.raw(&[0; 2 * BLOCK_SIZE]).bytes
    }

    /// Returns the archive without end marks.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn long(self, type_flag: u8, name: &[u8]) -> Self {
        let header = HeaderBuilder::new(type_flag).format(Format::Gnu).name(b"././@LongLink");
        self.member(header, &[name, b"\0"].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Header;

    #[test]
    fn numbers_are_octal_where_that_fits() {
        let block = HeaderBuilder::new(b'0').uid(0o777_7777).gid(0o1000_0000).mtime(-5).size(1 << 33).build();
        assert_eq!(&block[108..124], b"7777777\0\x80\0\0\0\0\x20\0\0");
        let header = Header(&block);
        assert_eq!((header.uid(), header.gid()), (Ok(0o777_7777), Ok(0o1000_0000)));
        assert_eq!((header.mtime(), header.size()), (Ok(-5), Ok(1 << 33)));
        let (claimed, actual) = header.checksums();
        assert_eq!(claimed, Some(actual));
    }

    #[test]
    fn records_count_their_own_length() {
        assert_eq!(pax_record(b"a", b"b"), b"6 a=b\n");
        assert_eq!(pax_record(b"a", b"bcdef"), b"11 a=bcdef\n");
        assert_eq!(pax_record(b"abc", &[b'x'; 91]).len(), 99);
        assert_eq!(pax_record(b"abc", &[b'x'; 92]).len(), 101);
    }

    #[test]
    fn times_are_written_as_real_numbers() {
        let text = |seconds, nanos| mtime_text(Mtime { seconds, nanos });
        assert_eq!(text(10, 0), "10");
        assert_eq!(text(1, 500_000_000), "1.5");
        assert_eq!(text(-2, 500_000_000), "-1.5");
        assert_eq!(text(-1, 999_999_999), "-0.000000001");
        assert_eq!(text(-10, 0), "-10");
    }
}
