//! A splitstream that waits for the ids of files, which are computed for a batch of them at once.
//!
//! SHA-512 is several times faster over several blocks side by side, and most files have fewer than it takes. So the
//! inline bytes between the files of a batch wait with them.

use std::ops::Range;

use composefs::{
    digest::ObjectId,
    splitstream::{Builder, SplitstreamError},
};

/// More inline bytes than these are not kept waiting.
const INLINE_MAX: usize = 256 * 1024;

/// What comes after the first file that waits.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// The inline bytes after each file, one after the other.
    inline: Vec<u8>,
    files: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// Where its contents are in the batch.
    contents: Range<usize>,
    size: u64,
    /// Where in `inline` the bytes begin that come after it.
    inline_from: usize,
}

impl Backlog {
    pub(super) const fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Tells whether too much waits already.
    pub(super) const fn is_full(&self) -> bool {
        self.inline.len() >= INLINE_MAX
    }

    /// Returns how many files wait.
    pub(super) const fn files(&self) -> usize {
        self.files.len()
    }

    /// Appends a file by its place in the batch.
    pub(super) fn file(&mut self, contents: Range<usize>, size: u64) {
        self.files.push(Waiting { contents, size, inline_from: self.inline.len() });
    }

    /// Appends inline bytes.
    pub(super) fn inline(&mut self, bytes: &[u8]) {
        self.inline.extend_from_slice(bytes);
    }

    /// Returns where the contents of the files are in the batch.
    pub(super) fn contents(&self) -> impl Iterator<Item = Range<usize>> {
        self.files.iter().map(|file| file.contents.clone())
    }

    /// Hands everything to the stream, now that the ids are known; there is one for each file.
    pub(super) fn settle(&mut self, ids: &[ObjectId], stream: &mut Builder) -> Result<(), SplitstreamError> {
        let ends = self.files.iter().skip(1).map(|file| file.inline_from).chain([self.inline.len()]);
        for ((file, id), end) in self.files.iter().zip(ids).zip(ends) {
            stream.external(id, file.size)?;
            stream.inline(self.inline.get(file.inline_from..end).unwrap_or_default())?;
        }
        self.files.clear();
        self.inline.clear();
        Ok(())
    }
}
