//! Reading that ends when it shall stop, and goes on when a medium has only been waiting.

use std::io::{self, Read};

use composefs::progress::Cancel;

/// A blob that ends with an error when it was asked to stop.
pub(crate) struct Stoppable<'a, R> {
    inner: R,
    cancel: &'a Cancel,
}

impl<'a, R> Stoppable<'a, R> {
    pub(crate) const fn new(inner: R, cancel: &'a Cancel) -> Self {
        Self { inner, cancel }
    }
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other("it was asked to stop"));
            }
            match self.inner.read(buffer) {
                // So is a medium that waits for its next bytes, now and then.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}
