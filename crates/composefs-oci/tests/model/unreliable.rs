//! A source to which something happens.

use std::{
    io::{self, Read},
    sync::atomic::{AtomicUsize, Ordering},
};

use composefs::progress::Cancel;
use composefs_oci::{
    Error,
    model::{Descriptor, platform::Platform},
    transport::{Chosen, Root, Source},
};

use crate::step::Fault;

/// A medium whose blobs come as they are but for one.
pub(crate) struct Unreliable<'a> {
    pub(crate) inner: Box<dyn Source>,
    pub(crate) fault: Option<Fault>,
    pub(crate) cancel: Cancel,
    /// Whether it is waited for as a registry is.
    pub(crate) remote: bool,
    /// Is told how many blobs were opened.
    pub(crate) happens: &'a (dyn Fn(usize) + Sync),
    opened: AtomicUsize,
}

impl<'a> Unreliable<'a> {
    pub(crate) fn new(
        inner: Box<dyn Source>,
        fault: Option<Fault>,
        remote: bool,
        happens: &'a (dyn Fn(usize) + Sync),
    ) -> Self {
        Self { inner, fault, cancel: Cancel::default(), remote, happens, opened: AtomicUsize::new(0) }
    }
}

impl Source for Unreliable<'_> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn root(&self) -> Result<Root, Error> {
        self.inner.root()
    }

    fn waits(&self) -> bool {
        self.remote
    }

    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error> {
        self.inner.manifest(platform)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let this = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
        (self.happens)(this);
        let blob = self.inner.blob(descriptor)?;
        Ok(match self.fault {
            Some(Fault::Cancelled { blob: at }) if at == this => {
                self.cancel.cancel();
                blob
            }
            Some(Fault::Fails { blob: at, after }) if at == this => Box::new(Fails { blob, left: after }),
            Some(Fault::Ends { blob: at, after }) if at == this => Box::new(blob.take(after)),
            Some(Fault::Lies { blob: at, at: byte }) if at == this => Box::new(Lies { blob, at: byte }),
            _ => blob,
        })
    }
}

struct Fails<R> {
    blob: R,
    left: u64,
}

impl<R: Read> Read for Fails<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let got = self.blob.read(&mut buffer[..room])?;
        self.left -= got as u64;
        match got {
            0 if room == 0 && !buffer.is_empty() => Err(io::Error::other("the cable was pulled")),
            got => Ok(got),
        }
    }
}

struct Lies<R> {
    blob: R,
    at: u64,
}

impl<R: Read> Read for Lies<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.blob.read(buffer)?;
        if self.at < got as u64 {
            buffer[self.at as usize] ^= 0x10;
        }
        self.at = self.at.checked_sub(got as u64).unwrap_or(u64::MAX);
        Ok(got)
    }
}
