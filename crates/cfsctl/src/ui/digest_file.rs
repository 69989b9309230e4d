//! `--digestfile`.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// A file for a digest, which can be written before what has the digest is made public. Without a digest it is left as
/// it was.
#[derive(Debug)]
pub(crate) struct DigestFile {
    file: File,
    path: PathBuf,
    /// Whether it is removed again when this is dropped.
    fresh: bool,
}

impl DigestFile {
    /// Opens the file that is wished for, or makes it.
    pub(crate) fn prepare(path: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let Some(path) = path else { return Ok(None) };
        let open = |new: bool| OpenOptions::new().write(true).create_new(new).open(path);
        let (file, fresh) = match open(true) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => (open(false), false),
            made => (made, true),
        };
        let file = file.with_context(|| format!("write {}", path.display()))?;
        Ok(Some(Self { file, path: path.to_owned(), fresh }))
    }

    /// Writes the digest.
    pub(crate) fn write(mut self, digest: &str) -> anyhow::Result<()> {
        self.fresh = false;
        let written = || -> std::io::Result<()> {
            if self.file.metadata()?.is_file() {
                self.file.set_len(0)?;
            }
            (&self.file).write_all(digest.as_bytes())
        };
        written().with_context(|| format!("write {}", self.path.display()))
    }
}

impl Drop for DigestFile {
    fn drop(&mut self) {
        if self.fresh {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
