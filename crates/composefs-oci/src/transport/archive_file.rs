//! Archives as files that can be read in any order: packed ones, and streams, go through an unnamed temporary.

use std::{
    fs::File,
    io::{self, Read, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use lzma_rust2::XzReader;
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::retry_on_intr,
};

use crate::{
    decompress::{BUFFER, Decompressor},
    error::{Error, Step},
    model::media_type::Compression,
};

/// What xz may ask for, in KiB: its highest preset needs a quarter of this.
const XZ_MEMORY_KIB: u32 = 256 << 10;
const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";
const BZIP2_MAGIC: &[u8] = b"BZh";

/// Opens an archive and unpacks it if it is packed; `None` for a directory.
pub(super) fn open(path: &Path) -> Result<Option<File>, Error> {
    let fail = |step: Step| move |source: io::Error| Error::source(step, path.display(), source);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = retry_on_intr(|| openat(CWD, path, flags, Mode::empty()))
        .map_err(|errno| fail(Step::OpenSource)(errno.into()))?;
    let file = File::from(fd);
    let kind = file.metadata().map_err(fail(Step::OpenSource))?.file_type();
    if kind.is_dir() {
        return Ok(None);
    }
    // It kept the opening of a FIFO from waiting; reading one must wait.
    rustix::fs::fcntl_setfl(&file, OFlags::empty()).map_err(|errno| fail(Step::OpenSource)(errno.into()))?;
    let Unpacked { packed, mut stream } = unpack(&file).map_err(fail(Step::ReadSource))?;
    if packed || !kind.is_file() {
        return spool(&mut stream).map(Some).map_err(fail(Step::ReadSource));
    }
    drop(stream);
    Ok(Some(file))
}

/// Writes what comes into an unnamed file, unpacked.
pub(super) fn spool_unpacked(stream: impl Read + Send) -> io::Result<File> {
    spool(&mut unpack(stream)?.stream)
}

/// An archive's bytes, unpacked.
struct Unpacked<'a> {
    packed: bool,
    stream: Box<dyn Read + Send + 'a>,
}

fn unpack<'a>(mut stream: impl Read + Send + 'a) -> io::Result<Unpacked<'a>> {
    let mut start = Vec::new();
    (&mut stream).take(XZ_MAGIC.len() as u64).read_to_end(&mut start)?;
    if start.starts_with(BZIP2_MAGIC) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "packed with bzip2, which is not supported"));
    }
    let xz = start == XZ_MAGIC;
    let stream = io::Cursor::new(start).chain(stream);
    if xz {
        let stream = io::BufReader::with_capacity(BUFFER, stream);
        let stream = Box::new(XzReader::new_mem_limit(stream, true, XZ_MEMORY_KIB));
        return Ok(Unpacked { packed: true, stream });
    }
    let stream = Decompressor::new(stream)?;
    Ok(Unpacked { packed: stream.compression() != Compression::None, stream: Box::new(stream) })
}

/// `$TMPDIR` where that says something else than `/tmp`, which may be memory; else `/var/tmp`.
fn spool_dir() -> PathBuf {
    let dir = std::env::temp_dir();
    if dir == Path::new("/tmp") { PathBuf::from("/var/tmp") } else { dir }
}

/// Makes a file that has no name, for what is too large for the memory.
pub(crate) fn unnamed() -> io::Result<File> {
    tempfile::tempfile_in(spool_dir()).or_else(|_| tempfile::tempfile())
}

fn spool(stream: &mut dyn Read) -> io::Result<File> {
    let mut file = unnamed()?;
    io::copy(stream, &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}
