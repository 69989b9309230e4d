//! The table as JSON has it, and what is made of it.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};

use super::{ENTRIES_MAX, Entry, EntryKind, Piece, TABLE_MAX, TocError};
use crate::digest::Digest;

#[derive(Deserialize)]
struct RawTable {
    version: u64,
    #[serde(deserialize_with = "entries")]
    entries: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    link_name: String,
    #[serde(default)]
    mode: u32,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    uid: u64,
    #[serde(default)]
    gid: u64,
    modtime: Option<String>,
    #[serde(default)]
    dev_major: u64,
    #[serde(default)]
    dev_minor: u64,
    xattrs: Option<BTreeMap<String, String>>,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    end_offset: u64,
    #[serde(default)]
    chunk_size: u64,
    #[serde(default)]
    chunk_offset: u64,
    #[serde(default)]
    chunk_digest: String,
    #[serde(default)]
    chunk_type: String,
}

/// Takes entries up to the limit, before memory is taken for more.
fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Raw>, D::Error> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<Raw>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Raw>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = list.next_element()? {
                if all.len() == ENTRIES_MAX {
                    return Err(A::Error::custom(format_args!("more than {ENTRIES_MAX} entries")));
                }
                all.push(one);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_seq(Entries)
}

/// What stands between the pieces met so far and those to come.
struct Builder {
    entries: Vec<Entry>,
    /// Where the next piece may begin in the blob.
    free: u64,
    data_end: u64,
    /// Where the contents of the last file end, if it says so.
    end: Option<u64>,
    /// The entry whose last piece in the blob ends where the next one begins.
    open: Option<usize>,
}

pub(super) fn parse(json: &[u8], data_end: u64) -> Result<Vec<Entry>, TocError> {
    if json.len() as u64 > TABLE_MAX {
        return Err(TocError::TooLarge { what: "the table", bytes: json.len() as u64, max: TABLE_MAX });
    }
    let table: RawTable = serde_json::from_slice(json).map_err(TocError::Json)?;
    if table.version != 1 {
        return Err(TocError::Version(table.version));
    }
    let mut builder = Builder { entries: Vec::new(), free: 0, data_end, end: None, open: None };
    let count = table.entries.len();
    for (number, raw) in table.entries.iter().enumerate() {
        builder.take(raw).map_err(|reason| TocError::Entry { number, reason })?;
    }
    let last = |reason| TocError::Entry { number: count.saturating_sub(1), reason };
    builder.close().and_then(|()| builder.settle(data_end)).map_err(last)?;
    Ok(builder.entries)
}

fn digest(text: &str) -> Result<Option<Digest>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "a digest is none")
}

impl Builder {
    fn take(&mut self, raw: &Raw) -> Result<(), &'static str> {
        let kind = match raw.kind.as_str() {
            "chunk" => return self.piece(raw),
            "reg" => EntryKind::File,
            "dir" => EntryKind::Directory,
            "symlink" => EntryKind::Symlink,
            "hardlink" => EntryKind::HardLink,
            "char" => EntryKind::CharDevice,
            "block" => EntryKind::BlockDevice,
            "fifo" => EntryKind::Fifo,
            _ => return Err("its type is unknown"),
        };
        self.close()?;
        if raw.name.is_empty() || raw.name.contains('\0') || raw.link_name.contains('\0') {
            return Err("its name is none");
        }
        let xattrs = raw.xattrs.iter().flatten().map(|(name, value)| {
            let value = STANDARD.decode(value).map_err(|_| "an attribute is no base64")?;
            Ok((name.clone(), value))
        });
        let is_file = kind == EntryKind::File;
        let entry = Entry {
            kind,
            mode: raw.mode,
            uid: raw.uid,
            gid: raw.gid,
            size: if is_file { raw.size } else { 0 },
            device: (raw.dev_major, raw.dev_minor),
            xattrs: xattrs.collect::<Result<_, &'static str>>()?,
            digest: digest(&raw.digest)?,
            pieces: Vec::new(),
            modified: raw.modtime.clone(),
            name: raw.name.clone(),
            link_name: raw.link_name.clone(),
        };
        self.entries.push(entry);
        if is_file && raw.size > 0 {
            self.end = Some(raw.end_offset).filter(|end| *end > 0);
            self.piece(raw)?;
        }
        Ok(())
    }

    /// Adds a piece to the file at hand. Where it ends, the next one or the file's end says.
    fn piece(&mut self, raw: &Raw) -> Result<(), &'static str> {
        let Some(file) = self.entries.last().filter(|last| last.kind == EntryKind::File) else {
            return Err("it is a piece of no file");
        };
        if file.name != raw.name {
            return Err("it is a piece of another file than the one before");
        }
        let have = file.pieces.last().map_or(0, |last| last.offset.saturating_add(last.size));
        if raw.chunk_offset != have {
            return Err("pieces of its file leave a gap, or lie over each other");
        }
        let left = file.size.saturating_sub(have);
        let size = if raw.chunk_size == 0 { left } else { raw.chunk_size };
        if size == 0 || size > left {
            return Err("the pieces have more bytes than their file");
        }
        let packed = match raw.chunk_type.as_str() {
            "zeros" => raw.offset..raw.offset,
            "" => {
                self.settle(raw.offset)?;
                self.open = self.entries.len().checked_sub(1);
                // Where it ends is not known yet; never empty, so that zeros are told from it.
                raw.offset..raw.offset.checked_add(1).ok_or("it lies outside the blob's files")?
            }
            _ => return Err("its kind of piece is unknown"),
        };
        let piece = Piece { offset: have, size, packed, digest: digest(&raw.chunk_digest)? };
        if let Some(file) = self.entries.last_mut() {
            file.pieces.push(piece);
        }
        Ok(())
    }

    /// Ends the file at hand.
    fn close(&mut self) -> Result<(), &'static str> {
        let end = self.end.take();
        let Some(file) = self.entries.last_mut().filter(|last| last.kind == EntryKind::File) else {
            return Ok(());
        };
        let have = file.pieces.last().map_or(0, |last| last.offset.saturating_add(last.size));
        if have != file.size {
            return Err("the pieces before it have fewer bytes than their file");
        }
        match end {
            Some(end) => self.settle(end),
            None => Ok(()),
        }
    }

    /// Ends the last piece in the blob. Nothing may lie over what was before, or outside the blob.
    fn settle(&mut self, end: u64) -> Result<(), &'static str> {
        if end < self.free {
            return Err("its contents lie over those of another");
        }
        if end > self.data_end {
            return Err("it lies outside the blob's files");
        }
        self.free = end;
        let open = self.open.take().and_then(|at| self.entries.get_mut(at));
        let last = open.and_then(|file| file.pieces.iter_mut().rev().find(|piece| !piece.is_zeros()));
        let Some(last) = last else { return Ok(()) };
        if end <= last.packed.start {
            return Err("a piece has no place in the blob");
        }
        last.packed.end = end;
        Ok(())
    }
}
