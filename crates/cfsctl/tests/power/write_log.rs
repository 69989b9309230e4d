//! The log of dm-log-writes: every write to a disk in the order of their completion, flushes and marks between them.
//!
//! A write that was not flushed is logged with the next flush. So the writes up to any place are what a disk may hold
//! whose power is cut, and of those since the last flush any may be missing, but for writes that say that they are durable
//! by themselves (FUA).
//!
//! # Format
//! Linux, `drivers/md/dm-log-writes.c`: sectors with the head of the log, then for each entry one with its head, then its
//! data.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// What is written whole or not at all: a disk's sector.
const SECTOR: u64 = 512;
/// Pieces of a write that may be missing each by itself.
const PIECE: usize = 4096;

/// Something that befell the disk.
#[derive(Debug)]
pub(crate) struct Entry {
    flags: u64,
    /// Where on the disk, in bytes.
    at: u64,
    length: u64,
    /// Where in the log, in bytes.
    data: u64,
    /// The name of a mark.
    mark: String,
}

impl Entry {
    /// Whether everything before it is durable from here on.
    pub(crate) fn is_flush(&self) -> bool {
        self.flags & FLUSH != 0
    }

    /// The name, of a mark.
    pub(crate) fn mark(&self) -> Option<&str> {
        (self.flags & MARK != 0).then_some(self.mark.as_str())
    }
}

/// What is on a disk at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// How many entries have happened.
    pub(crate) after: usize,
    /// By which chance pieces of the unflushed ones are missing; none are without.
    pub(crate) losing: Option<u64>,
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "after entry {}", self.after)?;
        match self.losing {
            Some(seed) => write!(f, ", unflushed pieces lost by seed {seed}"),
            None => Ok(()),
        }
    }
}

/// A log, read.
pub(crate) struct WriteLog {
    path: PathBuf,
    pub(crate) entries: Vec<Entry>,
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

impl WriteLog {
    pub(crate) fn read(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let mut head = [0; SECTOR as usize];
        file.read_exact_at(&mut head, 0).unwrap();
        assert_eq!(number(&head, 0), MAGIC, "a log");
        assert_eq!(number(&head, 8), 1, "its version");
        let count = number(&head, 16);
        let unit = u64::from(u32::from_le_bytes(head[24..28].try_into().unwrap()));
        let mut entries = Vec::new();
        let mut offset = unit;
        for _ in 0..count {
            let mut head = vec![0; usize::try_from(unit).unwrap()];
            file.read_exact_at(&mut head, offset).unwrap();
            let [sector, sectors, flags, length] = [0, 8, 16, 24].map(|at| number(&head, at));
            let mark = match flags & MARK {
                0 => String::new(),
                _ => String::from_utf8(head[32..32 + usize::try_from(length).unwrap()].to_vec()).unwrap(),
            };
            let data = offset + unit;
            // A mark's name is in its head; a discard has no data.
            let taken = if flags & (DISCARD | MARK) == 0 { sectors * unit } else { 0 };
            entries.push(Entry { flags, at: sector * unit, length: sectors * unit, data, mark });
            offset = data + taken;
        }
        Self { path: path.to_owned(), entries }
    }

    /// Returns how many flushes there are.
    pub(crate) fn flushes(&self) -> usize {
        self.entries.iter().filter(|entry| entry.is_flush()).count()
    }

    /// Returns the names of the marks that have happened.
    pub(crate) fn marks(&self, moment: Moment) -> impl Iterator<Item = &str> {
        self.entries[..moment.after].iter().filter_map(Entry::mark)
    }

    /// Writes to `disk`, which is as it was when the log began, what it holds at a moment.
    pub(crate) fn replay(&self, moment: Moment, disk: &File) {
        let log = File::open(&self.path).unwrap();
        let done = &self.entries[..moment.after];
        let sure = done.iter().rposition(Entry::is_flush).map_or(0, |at| at + 1);
        let mut chance = moment.losing.map(|seed| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for (at, entry) in done.iter().enumerate() {
            if entry.flags & MARK != 0 || entry.length == 0 {
                continue;
            }
            let mut bytes = vec![0; usize::try_from(entry.length).unwrap()];
            if entry.flags & DISCARD == 0 {
                log.read_exact_at(&mut bytes, entry.data).unwrap();
            }
            let mut place = entry.at;
            for piece in bytes.chunks(PIECE) {
                let lost = at >= sure && entry.flags & FUA == 0 && chance.as_mut().is_some_and(toss);
                if !lost {
                    disk.write_all_at(piece, place).unwrap();
                }
                place += piece.len() as u64;
            }
        }
    }
}

/// Tosses a coin.
fn toss(state: &mut u64) -> bool {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 63 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(dir: &Path) -> WriteLog {
        let mut bytes = Vec::new();
        for number in [MAGIC, 1, 5, 512] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.resize(512, 0);
        let mut entry = |sector: u64, flags: u64, mark: &str, data: &[u8]| {
            let start = bytes.len();
            let sectors = data.len() as u64 / 512;
            for number in [sector, sectors, flags, mark.len() as u64] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(mark.as_bytes());
            bytes.resize(start + 512, 0);
            bytes.extend(data);
        };
        entry(0, 0, "", &[1; 4096]);
        entry(16, FLUSH, "", &[]);
        entry(0, MARK, "named", &[]);
        entry(8, 0, "", &[2; 8 * 4096]);
        entry(0, FUA, "", &[3; 512]);
        std::fs::write(dir.join("log"), bytes).unwrap();
        WriteLog::read(&dir.join("log"))
    }

    #[test]
    fn a_moment_has_what_was_flushed_and_some_of_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path());
        let at = |after, losing| {
            let path = dir.path().join("disk");
            let disk = File::create(&path).unwrap();
            disk.set_len(10 * 4096).unwrap();
            log.replay(Moment { after, losing }, &disk);
            std::fs::read(path).unwrap()
        };
        assert_eq!(log.flushes(), 1);
        assert_eq!(log.marks(Moment { after: 5, losing: None }).collect::<Vec<_>>(), ["named"]);
        assert_eq!(log.marks(Moment { after: 2, losing: None }).count(), 0);
        assert_eq!(at(0, None), [0; 40960]);
        assert_eq!(at(2, Some(7))[..4096], [1; 4096]);
        let whole = at(5, None);
        assert_eq!((&whole[..512], &whole[512..4096]), (&[3; 512][..], &[1; 3584][..]));
        assert_eq!(whole[4096..9 * 4096], [2; 8 * 4096]);
        let torn = at(5, Some(7));
        assert_eq!(torn[..4096], whole[..4096], "the flushed and the durable are there");
        let pieces = torn[4096..9 * 4096].chunks(4096).filter(|piece| piece[0] == 2).count();
        assert!((1..8).contains(&pieces), "{pieces} of eight");
        assert_eq!(torn, at(5, Some(7)), "the same by the same seed");
    }
}
