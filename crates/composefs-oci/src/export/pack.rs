//! A layer packed into a file that has no name.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use composefs::progress::{Event, Observer};

use crate::{
    digest::{DiffId, DigestHasher, VerifyingReader},
    error::{Error, Step},
    stoppable::Stoppable,
    transport::unnamed,
};

use super::{ExportOptions, blocks, known::Known, options::Setting};

/// What an unnamed file is called in errors.
const PLACE: &str = "a temporary file";

/// Packs a layer's tar, of `total` bytes if that is known. The tar is checked against its diff_id on the way.
pub(super) fn pack(
    tar: impl Read,
    layer: &DiffId,
    total: Option<u64>,
    setting: Setting,
    options: &ExportOptions,
    observer: &dyn Observer,
) -> Result<(Known, File), Error> {
    let name = layer.as_str();
    let span = tracing::info_span!("pack", layer = name);
    let _entered = span.enter();
    observer.event(&Event::Begin { what: "pack", name, total });
    let tar = Stoppable::new(tar, &options.cancel);
    let tar = VerifyingReader::new(tar, layer.digest(), None)
        .map_err(|fault| Error::blob(layer.digest(), fault))?;
    let mut tar = Counted { tar, name, observer };
    let wrong = |error| Error::source(Step::Write, PLACE, error);
    let mut out =
        Hashed { file: unnamed().map_err(wrong)?, hasher: DigestHasher::sha256(), size: 0, failed: false };
    if let Err(error) = blocks::compress(&mut tar, &mut out, setting, options.jobs) {
        return Err(match out.failed {
            _ if options.cancel.is_cancelled() => Error::Cancelled { kept: 0 },
            true => wrong(error),
            false => Error::blob_io(layer.digest(), error),
        });
    }
    observer.event(&Event::Done { name });
    Ok((Known { digest: out.hasher.finish(), size: out.size }, out.file))
}

struct Counted<'a, R> {
    tar: R,
    name: &'a str,
    observer: &'a dyn Observer,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.tar.read(buffer)?;
        if got > 0 {
            self.observer.event(&Event::Advance { name: self.name, by: got as u64 });
        }
        Ok(got)
    }
}

struct Hashed {
    file: File,
    hasher: DigestHasher,
    size: u64,
    failed: bool,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes).inspect_err(|_| self.failed = true)?;
        self.hasher.update(bytes);
        self.size = self.size.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
