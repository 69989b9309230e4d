//! An archive to a stream: files of more than 64 bytes as objects, the rest inline.

use std::io::{self, Read};

use composefs::{fsverity::FsVerityHashValue, splitstream::SplitStreamWriter};
use composefs_tar::{Event, Options, Parser};

/// How much is read at a time.
const READ_SIZE: usize = 64 * 1024;

/// The archive's state between two reads.
struct Splitter {
    parser: Parser,
    /// The file that is being read; an object is written whole.
    contents: Vec<u8>,
}

impl Splitter {
    fn new() -> Self {
        Self { parser: Parser::new(Options::default()), contents: Vec::new() }
    }

    fn push<ObjectID: FsVerityHashValue>(
        &mut self,
        mut input: &[u8],
        writer: &mut SplitStreamWriter<ObjectID>,
    ) -> Result<(), composefs::Error> {
        while let Some(event) = self.parser.parse(&mut input).map_err(composefs::Error::caller)? {
            match event {
                Event::Inline(bytes) => writer.write_inline(bytes),
                Event::Content(bytes) => self.contents.extend_from_slice(bytes),
                Event::End => {
                    writer.write_external(&self.contents, Vec::new())?;
                    self.contents.clear();
                }
                Event::Member(_) | Event::Begin(_) => {}
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), composefs::Error> {
        self.parser.finish().map_err(composefs::Error::caller)
    }
}

/// Splits an uncompressed archive. Each file is held in memory, as the writer wants it whole; the importer does not.
///
/// # Errors
/// [`composefs::Error::Caller`] with what reading or the archive gives; what storing gives.
pub fn split<ObjectID: FsVerityHashValue>(
    tar_stream: &mut impl Read,
    writer: &mut SplitStreamWriter<ObjectID>,
) -> Result<(), composefs::Error> {
    let mut splitter = Splitter::new();
    let mut buffer = vec![0; READ_SIZE];
    loop {
        match tar_stream.read(&mut buffer) {
            Ok(0) => return splitter.finish(),
            Ok(got) => splitter.push(buffer.get(..got).unwrap_or_default(), writer)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(composefs::Error::caller(error)),
        }
    }
}

/// Splits an archive that is read asynchronously. Objects are stored on the task's thread.
///
/// # Errors
/// As [`split`].
#[cfg(any(feature = "proxy", feature = "registry"))]
pub async fn split_async<ObjectID: FsVerityHashValue>(
    mut tar_stream: impl tokio::io::AsyncRead + Unpin,
    writer: &mut SplitStreamWriter<ObjectID>,
) -> Result<(), composefs::Error> {
    use tokio::io::AsyncReadExt as _;

    let mut splitter = Splitter::new();
    let mut buffer = vec![0; READ_SIZE];
    loop {
        match tar_stream.read(&mut buffer).await.map_err(composefs::Error::caller)? {
            0 => return splitter.finish(),
            got => splitter.push(buffer.get(..got).unwrap_or_default(), writer)?,
        }
    }
}
