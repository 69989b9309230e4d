//! Where the members of a layout's archive are.
//!
//! The archive is read once, header by header; contents are skipped, so that an archive whose `index.json`
//! comes last costs no second pass.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

use composefs_tar::{Content, EntryKind, Event, Options, Parser};

/// The most members an archive may have that belong to a layout.
const MEMBERS_MAX: usize = 1 << 16;

/// The longest name in a layout: `blobs/`, and a digest.
const NAME_MAX: usize = 256 + 6;

/// Contents of a member.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Small ones are kept.
    Inline(Vec<u8>),
    /// Others stay in the file.
    At { offset: u64, size: u64 },
}

/// The files of a layout in an uncompressed tar, by their cleaned name.
#[derive(Debug)]
pub(super) struct ArchiveIndex {
    file: Arc<File>,
    places: HashMap<Vec<u8>, Place>,
}

impl ArchiveIndex {
    /// Reads the headers of an archive.
    pub(super) fn read(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut places = HashMap::new();
        let mut parser = Parser::new(Options::default());
        let mut buffer = vec![0; 64 * 1024];
        let mut offset = 0_u64;
        let mut begun = None;
        loop {
            let got = read_at(&file, &mut buffer, offset)?;
            if got == 0 {
                break;
            }
            let mut input = buffer.get(..got).unwrap_or_default();
            let mut next = offset.saturating_add(got as u64);
            while let Some(event) = parser.parse(&mut input).map_err(invalid)? {
                match event {
                    Event::Member(member) => {
                        if let Ok(entry) = member.entry
                            && let EntryKind::Regular { content: Content::Inline(contents), .. } = entry.kind
                        {
                            keep(&mut places, &entry.path, Place::Inline(contents))?;
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
                            keep(&mut places, &entry.path, Place::At { offset: at, size })?;
                        }
                    }
                    Event::Inline(_) | Event::Content(_) => {}
                }
            }
            offset = next;
        }
        parser.finish().map_err(invalid)?;
        Ok(Self { file: Arc::new(file), places })
    }

    /// Opens a member.
    pub(super) fn open(&self, name: &str) -> Option<Box<dyn Read + Send>> {
        match self.places.get(name.as_bytes())? {
            Place::Inline(contents) => Some(Box::new(io::Cursor::new(contents.clone()))),
            Place::At { offset, size } => {
                Some(Box::new(Window { file: Arc::clone(&self.file), offset: *offset, left: *size }))
            }
        }
    }
}

fn keep(places: &mut HashMap<Vec<u8>, Place>, path: &[u8], place: Place) -> io::Result<()> {
    let name = composefs_tar::clean_path(path).map_err(invalid)?.join(&b'/');
    let wanted = name == b"index.json" || name == b"oci-layout" || name.starts_with(b"blobs/");
    if !wanted || name.len() > NAME_MAX {
        return Ok(());
    }
    if places.len() >= MEMBERS_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the archive has too many blobs"));
    }
    places.insert(name, place);
    Ok(())
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A member's contents, read in place.
struct Window {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most) else { return Ok(0) };
        let got = read_at(&self.file, buffer, self.offset)?;
        self.offset = self.offset.saturating_add(got as u64);
        self.left = self.left.saturating_sub(got as u64);
        Ok(got)
    }
}
