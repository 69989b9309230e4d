//! The compressed part of a splitstream while it grows: in memory, and in an unnamed file once it is large.
//!
//! The tables that stand before it in the file are known only at its end.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
};

use composefs::{
    digest::ObjectId,
    repo::Writer,
    splitstream::{Builder, SplitstreamError},
};

use crate::{
    digest::Digest,
    error::{Error, Step},
};

/// What is kept in memory at most.
const MEMORY_MAX: usize = 2 << 20;

/// The compressed stream section so far.
#[derive(Debug, Default)]
pub(super) struct StreamSpool {
    memory: Vec<u8>,
    file: Option<File>,
}

pub(super) fn stream_error(layer: &Digest, source: SplitstreamError) -> Error {
    Error::stream(format!("oci-layer-{layer}"), source)
}

/// The unnamed file, which is on the repository's disk, could not be written or read back.
fn io_error(writer: &Writer) -> impl FnOnce(io::Error) -> Error {
    let path = writer.path().to_owned();
    |source| composefs::Error::Io { step: composefs::error::Step::Write, path, source }.into()
}

/// An object's temporary could not be written.
pub(super) fn write_error(source: io::Error) -> Error {
    Error::source(Step::Write, "an object", source)
}

impl StreamSpool {
    /// Takes what the builder has compressed.
    pub(super) fn take(&mut self, builder: &mut Builder, writer: &Writer) -> Result<(), Error> {
        self.memory.append(&mut builder.take_output());
        if self.memory.len() > MEMORY_MAX {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(tempfile::tempfile_in(writer.path()).map_err(io_error(writer))?),
            };
            file.write_all(&self.memory).map_err(io_error(writer))?;
            self.memory.clear();
        }
        Ok(())
    }

    /// Stores the whole splitstream as an object.
    pub(super) fn finish(self, writer: &Writer, builder: Builder, layer: &Digest) -> Result<ObjectId, Error> {
        let built = builder.finish().map_err(|error| stream_error(layer, error))?;
        let mut object = writer.object_writer(0)?;
        object.append(&built.head)?;
        if let Some(mut file) = self.file {
            file.seek(SeekFrom::Start(0)).map_err(io_error(writer))?;
            let mut buffer = vec![0; crate::decompress::BUFFER];
            loop {
                let got = file.read(&mut buffer).map_err(io_error(writer))?;
                if got == 0 {
                    break;
                }
                object.append(buffer.get(..got).unwrap_or_default())?;
            }
        }
        object.append(&self.memory)?;
        object.append(&built.tail)?;
        Ok(object.finish()?.id)
    }
}
