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

fn io_error(source: io::Error) -> Error {
    Error::source(Step::Write, "the temporary file of a splitstream", source)
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
                None => self.file.insert(tempfile::tempfile_in(writer.path()).map_err(io_error)?),
            };
            file.write_all(&self.memory).map_err(io_error)?;
            self.memory.clear();
        }
        Ok(())
    }

    /// Stores the whole splitstream as an object.
    pub(super) fn finish(self, writer: &Writer, builder: Builder, layer: &Digest) -> Result<ObjectId, Error> {
        let built = builder.finish().map_err(|error| stream_error(layer, error))?;
        let mut object = writer.object_writer(0)?;
        object.write_all(&built.head).map_err(write_error)?;
        if let Some(mut file) = self.file {
            file.seek(SeekFrom::Start(0)).map_err(io_error)?;
            let mut buffer = vec![0; crate::decompress::BUFFER];
            loop {
                let got = file.read(&mut buffer).map_err(io_error)?;
                if got == 0 {
                    break;
                }
                object.write_all(buffer.get(..got).unwrap_or_default()).map_err(write_error)?;
            }
        }
        object.write_all(&self.memory).map_err(write_error)?;
        object.write_all(&built.tail).map_err(write_error)?;
        Ok(object.finish()?.id)
    }
}
