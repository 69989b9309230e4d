//! Notes: small files below `.cfs/` that only we read, and that nobody needs.
//!
//! Other programs never look there. What is lost or damaged there costs convenience, never data.
//!
//! # Format
//! `docs/formats/repository.md`, section 9.

use std::{io, os::fd::OwnedFd, path::PathBuf};

use rustix::fs::FileType;

use super::{Repository, Writer, layout::BESIDE as NOTES};
use crate::{
    disk::{
        beneath::{self, Listed},
        publish,
    },
    error::{Error, Result, Step},
};

impl Repository {
    fn notes_directory(&self, of: &str) -> Result<Option<OwnedFd>> {
        beneath::open_directory(self.directory(), self.path(), [NOTES.as_bytes(), of.as_bytes()])
    }

    fn note_path(&self, of: &str, name: &str) -> PathBuf {
        self.path_of(NOTES).join(of).join(name)
    }

    /// Reads a note of at most `limit` bytes; `None` if there is none. `of` and `name` are one component each.
    ///
    /// # Errors
    /// [`Error::Io`]; what is larger, and what is no file, is one too.
    pub fn note(&self, of: &str, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(directory) = self.notes_directory(of)? else { return Ok(None) };
        match beneath::open_file(&directory, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(Step::Open, self.note_path(of, name))(error)),
            Ok(fd) => beneath::read_all(fd, limit)
                .map(Some)
                .map_err(Error::io(Step::Read, self.note_path(of, name))),
        }
    }

    /// Lists the names of notes, in byte order; what is no regular file is left out.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn notes(&self, of: &str) -> Result<Vec<String>> {
        let Some(directory) = self.notes_directory(of)? else { return Ok(Vec::new()) };
        let listed = beneath::list(directory).map_err(Error::io(Step::List, self.path_of(NOTES).join(of)))?;
        let names = listed.into_iter().filter(|Listed { kind, .. }| *kind == FileType::RegularFile);
        Ok(names.filter_map(|listed| listed.name.into_string().ok()).collect())
    }

    /// Removes a note; tells whether it was there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_note(&self, of: &str, name: &str) -> Result<bool> {
        let Some(directory) = self.notes_directory(of)? else { return Ok(false) };
        publish::remove(directory, name).map_err(Error::io(Step::Unlink, self.note_path(of, name)))
    }

    /// Removes the notes whose names are not wanted any more; returns how many.
    ///
    /// # Errors
    /// [`Error::Io`]; what `is_wanted` gives.
    pub fn prune_notes<E: From<Error>>(
        &self,
        of: &str,
        mut is_wanted: impl FnMut(&str) -> Result<bool, E>,
    ) -> Result<usize, E> {
        let mut pruned = 0_usize;
        for name in self.notes(of)? {
            if !is_wanted(&name)? && self.remove_note(of, &name)? {
                pruned = pruned.saturating_add(1);
            }
        }
        Ok(pruned)
    }
}

impl Writer {
    /// Puts a note in the place of whatever has its name, unless it says the same. The next commit makes it durable.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put_note(&self, of: &str, name: &str, contents: &[u8]) -> Result<()> {
        if self.note(of, name, contents.len() as u64).ok().flatten().as_deref() == Some(contents) {
            return Ok(());
        }
        let mut below = PathBuf::new();
        for component in [NOTES, of] {
            below.push(component);
            self.state
                .modes()
                .make_directory(self.directory(), below.as_path())
                .map_err(Error::io(Step::MakeDirectory, self.path_of(&below)))?;
        }
        let path = self.note_path(of, name);
        let directory = self.notes_directory(of)?;
        let directory = directory
            .ok_or_else(|| Error::io(Step::Open, &path)(io::Error::from(io::ErrorKind::NotFound)))?;
        self.replace_file(contents, &directory, name).map_err(Error::io(Step::Write, path))?;
        self.state.barrier.mark();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::CWD;

    use super::*;
    use crate::{
        digest::Algorithm,
        repo::{InitOptions, OpenOptions, init},
    };

    #[test]
    fn notes_are_put_read_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        init(CWD, directory.path(), &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
        let writer =
            Repository::open(CWD, directory.path(), &OpenOptions::default()).unwrap().into_writer().unwrap();
        assert_eq!(writer.note("x", "a", 10).unwrap(), None);
        assert_eq!(writer.notes("x").unwrap(), [""; 0]);
        writer.put_note("x", "a", b"one").unwrap();
        writer.put_note("x", "a", b"three").unwrap();
        writer.put_note("x", "b", b"").unwrap();
        assert_eq!(writer.note("x", "a", 5).unwrap().as_deref(), Some(&b"three"[..]));
        assert!(writer.note("x", "a", 4).is_err());
        assert_eq!(writer.notes("x").unwrap(), ["a", "b"]);
        assert!(writer.remove_note("x", "a").unwrap() && !writer.remove_note("x", "a").unwrap());
        // A link is no note, and is replaced, not followed.
        let link = directory.path().join(".cfs/x/link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(writer.note("x", "link", 1 << 20).is_err());
        writer.put_note("x", "link", b"own").unwrap();
        assert!(!std::fs::symlink_metadata(link).unwrap().is_symlink());
    }
}
