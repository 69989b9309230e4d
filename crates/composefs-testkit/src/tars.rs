//! Tar archives made member by member, the same bytes on every machine.
//!
//! [`TarBuilder`] makes plain archives with little typing and odd ones on request: any header field, any PAX record, raw
//! bytes in the middle, no end marker, a cut.
//!
//! ```
//! use composefs_testkit::tars::TarBuilder;
//! let layer = TarBuilder::new().dir("usr").file("usr/hello", "hi\n").symlink("usr/link", "hello").finish();
//! assert_eq!(layer.len() % 512, 0);
//! ```

use tar::{EntryType, Header};

/// A tar member's header fields beside its name: mode 0644, owner 0:0 and the epoch unless changed.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// Permission bits, set-user-id and the like.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Modification time, seconds since the epoch.
    pub mtime: u64,
}

impl Default for Meta {
    fn default() -> Self {
        Self { mode: 0o644, uid: 0, gid: 0, mtime: 0 }
    }
}

impl Meta {
    /// The default with another mode.
    #[must_use]
    pub fn mode(mode: u32) -> Self {
        Self { mode, ..Self::default() }
    }
}

/// An archive in the making.
#[derive(Clone, Debug, Default)]
pub struct TarBuilder {
    bytes: Vec<u8>,
    pax: Vec<(String, Vec<u8>)>,
    mtime: u64,
}

impl TarBuilder {
    /// Starts an empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time of all members that follow and have no [`Meta`] of their own.
    #[must_use]
    pub fn mtime(mut self, seconds: u64) -> Self {
        self.mtime = seconds;
        self
    }

    fn meta(&self, mode: u32) -> Meta {
        Meta { mode, mtime: self.mtime, ..Meta::default() }
    }

    /// Adds a directory with mode 0755; its name gets the usual final slash.
    #[must_use]
    pub fn dir(self, path: &str) -> Self {
        let meta = self.meta(0o755);
        self.dir_with(path, meta)
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir_with(self, path: &str, meta: Meta) -> Self {
        self.member(
            EntryType::Directory,
            format!("{}/", path.trim_end_matches('/')).as_bytes(),
            b"",
            meta,
            &[],
        )
    }

    /// Adds a regular file with mode 0644.
    #[must_use]
    pub fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        let meta = self.meta(0o644);
        self.file_with(path, contents, meta)
    }

    /// Adds a regular file.
    #[must_use]
    pub fn file_with(self, path: &str, contents: impl AsRef<[u8]>, meta: Meta) -> Self {
        self.member(EntryType::Regular, path.as_bytes(), b"", meta, contents.as_ref())
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        let meta = self.meta(0o777);
        self.member(EntryType::Symlink, path.as_bytes(), target.as_bytes(), meta, &[])
    }

    /// Adds another name of a member that came before.
    #[must_use]
    pub fn hardlink(self, path: &str, target: &str) -> Self {
        let meta = self.meta(0o644);
        self.member(EntryType::Link, path.as_bytes(), target.as_bytes(), meta, &[])
    }

    /// Adds a FIFO.
    #[must_use]
    pub fn fifo(self, path: &str) -> Self {
        let meta = self.meta(0o644);
        self.member(EntryType::Fifo, path.as_bytes(), b"", meta, &[])
    }

    /// Adds a character device.
    #[must_use]
    pub fn char_device(mut self, path: &str, major: u32, minor: u32) -> Self {
        let mut header = self.header(EntryType::Char, path.as_bytes(), b"", self.meta(0o644), 0);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        header.set_cksum();
        self.push(&header, &[]);
        self
    }

    /// Adds the marker that removes `path` from the layers below.
    #[must_use]
    pub fn whiteout(self, path: &str) -> Self {
        let marker = match path.rsplit_once('/') {
            Some((parent, name)) => format!("{parent}/.wh.{name}"),
            None => format!(".wh.{path}"),
        };
        self.file(&marker, "")
    }

    /// Adds the marker that hides what the layers below have in the directory `path`.
    #[must_use]
    pub fn opaque(self, path: &str) -> Self {
        self.file(&format!("{path}/.wh..wh..opq"), "")
    }

    /// Gives the next member a PAX record, `SCHILY.xattr.user.a` say.
    #[must_use]
    pub fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Gives the next member an extended attribute.
    #[must_use]
    pub fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    /// Adds a member of any type; names too long for the header, and links too long, become PAX records.
    #[must_use]
    pub fn member(mut self, kind: EntryType, path: &[u8], link: &[u8], meta: Meta, contents: &[u8]) -> Self {
        let header = self.header(kind, path, link, meta, contents.len() as u64);
        self.push(&header, contents);
        self
    }

    /// Adds bytes as they are: a header of the caller's own, garbage, padding.
    #[must_use]
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.bytes.extend_from_slice(bytes.as_ref());
        self
    }

    /// Ends the archive with two zero blocks.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }

    /// Ends the archive without an end marker.
    #[must_use]
    pub fn unfinished(self) -> Vec<u8> {
        self.bytes
    }

    fn header(&mut self, kind: EntryType, path: &[u8], link: &[u8], meta: Meta, size: u64) -> Header {
        let mut pax = std::mem::take(&mut self.pax);
        if path.len() > 100 {
            pax.push(("path".to_owned(), path.to_vec()));
        }
        if link.len() > 100 {
            pax.push(("linkpath".to_owned(), link.to_vec()));
        }
        if !pax.is_empty() {
            let records: Vec<u8> = pax.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
            let header = plain_header(
                EntryType::XHeader,
                b"PaxHeaders/entry",
                b"",
                Meta::default(),
                records.len() as u64,
            );
            self.push(&header, &records);
        }
        plain_header(kind, path, link, meta, size)
    }

    fn push(&mut self, header: &Header, contents: &[u8]) {
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(contents);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }
}

fn plain_header(kind: EntryType, path: &[u8], link: &[u8], meta: Meta, size: u64) -> Header {
    let mut header = Header::new_ustar();
    // Written into the fields directly: set_path refuses the very names that some tests are about.
    let old = header.as_old_mut();
    let length = path.len().min(old.name.len());
    old.name[..length].copy_from_slice(&path[..length]);
    let length = link.len().min(old.linkname.len());
    old.linkname[..length].copy_from_slice(&link[..length]);
    header.set_entry_type(kind);
    header.set_mode(meta.mode);
    header.set_uid(meta.uid);
    header.set_gid(meta.gid);
    header.set_mtime(meta.mtime);
    header.set_size(size);
    header.set_device_major(0).unwrap();
    header.set_device_minor(0).unwrap();
    header.set_cksum();
    header
}

/// Makes one PAX record, whose length counts its own digits.
#[must_use]
pub fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut total = rest + 1;
    while total.to_string().len() + rest != total {
        total = total.to_string().len() + rest;
    }
    let mut record = format!("{total} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn another_reader_understands_what_we_make() {
        let long = format!("usr/{}", "x".repeat(200));
        let bytes = TarBuilder::new()
            .mtime(7)
            .dir("usr")
            .xattr("user.a", "b\0c")
            .file(&long, "hello")
            .hardlink("usr/second", &long)
            .symlink("usr/link", "second")
            .char_device("usr/null", 1, 3)
            .whiteout("usr/gone")
            .opaque("usr")
            .finish();
        let mut names = Vec::new();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            names.push(entry.path().unwrap().display().to_string());
            if entry.header().entry_type() == EntryType::Regular && entry.size() > 0 {
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                assert_eq!(text, "hello");
                let records: Vec<_> = entry
                    .pax_extensions()
                    .unwrap()
                    .unwrap()
                    .map(|r| r.unwrap().key().unwrap().to_owned())
                    .collect();
                assert_eq!(records, ["SCHILY.xattr.user.a", "path"]);
            }
        }
        assert_eq!(
            names,
            ["usr/", &long, "usr/second", "usr/link", "usr/null", "usr/.wh.gone", "usr/.wh..wh..opq"]
        );
    }

    #[test]
    fn pax_lengths_count_their_own_digits() {
        for length in 0..2000 {
            let record = pax_record("k", &vec![b'v'; length]);
            let digits: String =
                record.iter().map(|byte| *byte as char).take_while(char::is_ascii_digit).collect();
            assert_eq!(digits.parse::<usize>().unwrap(), record.len());
        }
    }
}
