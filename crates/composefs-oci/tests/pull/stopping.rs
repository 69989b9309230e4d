//! A pull that is asked to stop keeps what is finished and names nothing else.

use std::{
    io::Read,
    sync::atomic::{AtomicUsize, Ordering},
};

use composefs::progress::{Cancel, Silent};
use composefs_oci::{
    Error,
    model::{Descriptor, platform::Platform},
    pull::{PullOptions, pull},
    transport::{self, Chosen, Root, Source},
};
use composefs_testkit::images::{Compression, Image};

use crate::lab::{Lab, layer};

/// Asks to stop when so many blobs were opened, the config among them.
struct StopsAt {
    inner: Box<dyn Source>,
    cancel: Cancel,
    blobs: AtomicUsize,
    at: usize,
}

impl Source for StopsAt {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn root(&self) -> Result<Root, Error> {
        self.inner.root()
    }

    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error> {
        self.inner.manifest(platform)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        if self.blobs.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            self.cancel.cancel();
        }
        self.inner.blob(descriptor)
    }
}

#[test]
fn finished_layers_are_kept() {
    let mut lab = Lab::new();
    // The largest comes first; small ones are imported on one thread, large ones on several.
    let layers = [200, 300_000, 400_000].map(|size| layer(size as u64, size, Compression::Gzip));
    lab.layout.image("x", &Image::new(layers.clone()));
    let reference = lab.layout.reference("x").parse().unwrap();
    for (at, kept) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
        let cancel = Cancel::default();
        let inner = transport::open(&reference, &transport::SourceOptions::default()).unwrap();
        let source = StopsAt { inner, cancel: cancel.clone(), blobs: AtomicUsize::new(0), at };
        let options = PullOptions::default().tag("x").jobs(1).cancel(cancel);
        let result = pull(&lab.writer, &source, &options, &Silent);
        match result {
            Err(Error::Cancelled { kept: now }) => assert_eq!(now, kept, "stopped at blob {at}"),
            // What was kept before does not come again, so there may be no such blob any more.
            Ok(_) => assert_eq!(at, 4),
            Err(other) => panic!("{other:?}"),
        }
        if at < 4 {
            assert!(lab.tags().is_empty());
        }
        lab.clean();
        lab.reopen();
    }
    let names = lab.streams();
    assert!(names.contains(&format!("oci-layer-{}", layers[2].diff_id)), "{names:?}");
}

#[test]
fn what_was_asked_before_stops_before_anything() {
    let mut lab = Lab::new();
    lab.layout.image("x", &Image::new([layer(1, 10, Compression::Plain)]));
    let cancel = Cancel::default();
    cancel.cancel();
    let options = PullOptions::default().tag("x").cancel(cancel);
    let error = lab.pull_as(&lab.layout.reference("x"), &options, &Silent).unwrap_err();
    assert_eq!(error.to_string(), "interrupted; no layer was finished");
    assert!(lab.streams().is_empty());
}
