//! Objects as what they hold: splitstreams and images.

use std::{fs::File, os::unix::fs::FileExt as _};

use super::Repository;
use crate::{
    digest::ObjectId,
    erofs::{self, Image, ReadLimits},
    error::{Error, Result, Step},
    splitstream::{Limits, ReplayError, Replayed, SplitStream, replay},
};

/// What a splitstream's magic is, and where it stands in the two layouts of its header.
const STREAM_MAGIC: (&[u8], [u64; 2]) = (b"SplitStream", [0, 18]);

impl Repository {
    /// Opens a stream by its id and reads its tables.
    ///
    /// # Errors
    /// As [`Repository::open_object`], and [`Error::Stream`] if it is no good.
    pub fn open_stream(&self, id: &ObjectId) -> Result<SplitStream<File>> {
        let opened = self.open_measured(id)?;
        SplitStream::parse(File::from(opened.fd), opened.size, self.algorithm(), &Limits::default())
            .map_err(|source| Error::Stream { id: *id, source: Box::new(source) })
    }

    /// Writes the original bytes of a stream.
    ///
    /// In an insecure repository the bytes are not checked; hash them where they matter.
    ///
    /// # Errors
    /// As [`Repository::open_object`] for each object, [`Error::Stream`], [`Error::Output`]. Part of the
    /// output is written then.
    pub fn replay_stream(
        &self,
        id: &ObjectId,
        stream: &SplitStream<File>,
        output: &mut dyn std::io::Write,
    ) -> Result<Replayed> {
        let mut open = |object: &ObjectId| self.open_object(object).map(File::from);
        replay(stream, &mut open, output).map_err(|error| match error {
            ReplayError::Stream(source) => Error::Stream { id: *id, source: Box::new(source) },
            ReplayError::Open { source, .. } => source,
            ReplayError::Read { id, source } => self.object_error(Step::Read, &id, source),
            ReplayError::Write(source) => Error::Output { source },
        })
    }

    /// Reads an image by its id. The contents are what the id says.
    ///
    /// # Errors
    /// As [`Repository::read_object`], with the reader's limit of 1 GiB.
    pub fn read_image(&self, id: &ObjectId) -> Result<Vec<u8>> {
        self.read_object(id, ReadLimits::default().image_bytes)
    }

    /// Lists the objects that an image names, sorted, each once, the image itself not among them.
    ///
    /// # Errors
    /// As [`Repository::read_image`], and [`Error::Image`] if it is no image.
    pub fn image_objects(&self, id: &ObjectId) -> Result<Vec<ObjectId>> {
        self.image_contents(id).map(|contents| contents.objects)
    }

    /// Lists the objects that an image names, and says how large its files are.
    ///
    /// # Errors
    /// As [`Repository::image_objects`].
    pub fn image_contents(&self, id: &ObjectId) -> Result<erofs::objects::Contents> {
        let bytes = self.read_image(id)?;
        let wrap = |source| Error::Image { id: *id, source: Box::new(source) };
        // Images of 0.3 must not keep all garbage for the sake of a name.
        let limits = ReadLimits::default().nul_ends_names(true);
        let image = Image::open(&bytes, &limits).map_err(wrap)?;
        erofs::objects::contents(&image, self.algorithm()).map_err(wrap)
    }

    /// Tells whether an object begins as a splitstream does.
    pub(super) fn is_stream(&self, id: &ObjectId) -> Result<bool> {
        let (opened, _) = self.open_raw(id)?;
        let file = File::from(opened.fd);
        let (magic, offsets) = STREAM_MAGIC;
        for offset in offsets {
            let mut found = vec![0; magic.len()];
            match file.read_exact_at(&mut found, offset) {
                Ok(()) if found == magic => return Ok(true),
                Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                    return Err(self.object_error(Step::Read, id, error));
                }
                _ => {}
            }
        }
        Ok(false)
    }
}
