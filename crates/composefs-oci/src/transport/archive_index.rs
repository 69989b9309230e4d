//! Where the members of an image's archive are.
//!
//! The archive is read once, header by header; contents are skipped, so that an archive whose `index.json`
//! comes last costs no second pass.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

use composefs_tar::{Content, EntryKind, Event, Options, Parser};

/// The most members of an archive that are kept.
const MEMBERS_MAX: usize = 1 << 16;
/// The most bytes of the names of members, and of what links lead to.
const NAMES_MAX: usize = 16 << 20;
/// The longest name in a layout: `blobs/`, and a digest.
const LAYOUT_NAME_MAX: usize = 256 + 6;
/// The most links on the way to a member.
const LINKS_MAX: usize = 40;

/// Bytes that can be read at any place.
pub(super) trait ReadAt: Send + Sync {
    /// Returns how many there are.
    fn size(&self) -> io::Result<u64>;
    /// Reads some at `offset`; none at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}

/// Which members of an archive count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The files of an OCI layout, whatever else is there.
    Layout,
    /// All files, and links to them.
    All,
}

impl Keep {
    fn wants(self, name: &[u8]) -> bool {
        match self {
            Self::Layout => {
                let known = name == b"index.json" || name == b"oci-layout" || name.starts_with(b"blobs/");
                known && name.len() <= LAYOUT_NAME_MAX
            }
            Self::All => true,
        }
    }
}

/// Contents of a member.
#[derive(Clone, Debug)]
enum Place {
    /// Small ones are kept.
    Inline(Vec<u8>),
    /// Others stay in the file.
    At { offset: u64, size: u64 },
    /// Those of another member.
    Link(Vec<u8>),
}

/// The files in an uncompressed tar, by their cleaned name.
pub(super) struct ArchiveIndex {
    bytes: Arc<dyn ReadAt>,
    keep: Keep,
    places: HashMap<Vec<u8>, Place>,
    names_size: usize,
}

impl fmt::Debug for ArchiveIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveIndex").field("keep", &self.keep).field("places", &self.places).finish()
    }
}

impl ArchiveIndex {
    /// Reads the headers of an archive.
    pub(super) fn read(bytes: impl ReadAt + 'static, keep: Keep) -> io::Result<Self> {
        let bytes: Arc<dyn ReadAt> = Arc::new(bytes);
        let length = bytes.size()?;
        let mut index = Self { bytes: Arc::clone(&bytes), keep, places: HashMap::new(), names_size: 0 };
        let mut parser = Parser::new(Options::default());
        let mut buffer = vec![0; 64 * 1024];
        let mut offset = 0_u64;
        let mut begun = None;
        loop {
            let got = bytes.read_at(&mut buffer, offset)?;
            if got == 0 {
                break;
            }
            let mut input = buffer.get(..got).unwrap_or_default();
            let mut next = offset.saturating_add(got as u64);
            while let Some(event) = parser.parse(&mut input).map_err(invalid)? {
                match event {
                    Event::Member(member) => {
                        if let Ok(entry) = member.entry {
                            index.small(&entry.path, entry.kind)?;
                        }
                    }
                    Event::Begin(member) => {
                        let size = member.external.unwrap_or(member.size);
                        let at = next.saturating_sub(input.len() as u64);
                        if at.checked_add(size).is_none_or(|end| end > length) {
                            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut"));
                        }
                        begun = member.entry.ok().map(|entry| (entry, at, size));
                        parser.skip_external(size).map_err(invalid)?;
                        let here = usize::try_from(size).unwrap_or(usize::MAX).min(input.len());
                        input = input.get(here..).unwrap_or_default();
                        next = next.saturating_add(size.saturating_sub(here as u64));
                    }
                    Event::End => {
                        if let Some((entry, at, size)) = begun.take()
                            && matches!(entry.kind, EntryKind::Regular { content: Content::External, .. })
                        {
                            index.insert(&entry.path, Place::At { offset: at, size })?;
                        }
                    }
                    Event::Inline(_) | Event::Content(_) => {}
                }
            }
            offset = next;
        }
        parser.finish().map_err(invalid)?;
        Ok(index)
    }

    /// Opens a member; the size of its contents with it. Links are followed.
    pub(super) fn open(&self, name: &str) -> Option<(Box<dyn Read + Send>, u64)> {
        match self.find(name)? {
            Place::Inline(contents) => {
                Some((Box::new(io::Cursor::new(contents.clone())), contents.len() as u64))
            }
            Place::At { offset, size } => {
                let window = Window { bytes: Arc::clone(&self.bytes), offset: *offset, left: *size };
                Some((Box::new(window), *size))
            }
            Place::Link(_) => None,
        }
    }

    fn find(&self, name: &str) -> Option<&Place> {
        let mut place = self.places.get(&clean(name.as_bytes())?)?;
        for _ in 0..LINKS_MAX {
            let Place::Link(target) = place else { return Some(place) };
            place = self.places.get(target)?;
        }
        None
    }

    fn small(&mut self, path: &[u8], kind: EntryKind) -> io::Result<()> {
        let target = match kind {
            EntryKind::Regular { content: Content::Inline(contents), .. } => {
                return self.insert(path, Place::Inline(contents));
            }
            EntryKind::Symlink { target } if self.keep == Keep::All => {
                clean(path).and_then(|name| beside(&name, &target))
            }
            EntryKind::Hardlink { target } if self.keep == Keep::All => clean(&target),
            _ => None,
        };
        match target {
            Some(target) => self.insert(path, Place::Link(target)),
            None => Ok(()),
        }
    }

    fn insert(&mut self, path: &[u8], place: Place) -> io::Result<()> {
        let Some(name) = clean(path).filter(|name| self.keep.wants(name)) else { return Ok(()) };
        let more = match &place {
            Place::Link(target) => name.len() + target.len(),
            _ => name.len(),
        };
        self.names_size = self.names_size.saturating_add(more);
        if self.places.len() >= MEMBERS_MAX || self.names_size > NAMES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the archive has too many members"));
        }
        self.places.insert(name, place);
        Ok(())
    }
}

/// Cleans a name; `None` for one with `..`.
fn clean(name: &[u8]) -> Option<Vec<u8>> {
    composefs_tar::clean_path(name).ok().map(|parts| parts.join(&b'/'))
}

/// Returns where a symlink at `name` leads; `None` if that is outside of the archive.
fn beside(name: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = match target {
        [b'/', ..] => Vec::new(),
        _ => name.split(|byte| *byte == b'/').collect(),
    };
    parts.pop();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A member's contents, read in place.
struct Window {
    bytes: Arc<dyn ReadAt>,
    offset: u64,
    left: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most) else { return Ok(0) };
        let got = self.bytes.read_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(got as u64);
        self.left = self.left.saturating_sub(got as u64);
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use composefs_tar::build::Archive;

    use super::*;

    #[test]
    fn links_are_followed_within_the_archive() {
        let archive = Archive::new()
            .file(b"a/file", b"contents")
            .symlink(b"b/up", b"../a/file")
            .symlink(b"b/twice", b"./up")
            .hardlink(b"hard", b"a/file")
            .symlink(b"absolute", b"/a/file")
            .symlink(b"out", b"../a/file")
            .symlink(b"b/out", b"../../a/file")
            .symlink(b"loop", b"loop")
            .symlink(b"b/one", b"two")
            .symlink(b"b/two", b"one")
            .file(b"../above", b"contents")
            .finish();
        let index = ArchiveIndex::read(archive, Keep::All).unwrap();
        for good in ["a/file", "/a/./file", "b/up", "b/twice", "hard", "absolute"] {
            let (mut member, size) = index.open(good).unwrap();
            let mut contents = Vec::new();
            member.read_to_end(&mut contents).unwrap();
            assert_eq!((&contents[..], size), (&b"contents"[..], 8), "{good}");
        }
        for bad in ["out", "b/out", "loop", "b/one", "../above", "above", "a", "", "a/../a/file"] {
            assert!(index.open(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn names_are_bounded() {
        let mut archive = Archive::new();
        for number in 0..70_000_u32 {
            archive = archive.file(number.to_string().as_bytes(), b"");
        }
        let error = ArchiveIndex::read(archive.finish(), Keep::All).unwrap_err();
        assert!(error.to_string().contains("too many"), "{error}");
    }
}
