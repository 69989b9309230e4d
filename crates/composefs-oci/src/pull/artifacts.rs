//! Artifacts about an image, brought with it.

use std::io::Read;

use composefs::{
    progress::{Event, Observer},
    repo::Writer,
};
use oci_spec::image::Descriptor;

use super::{PullOptions, pull};
use crate::{
    digest::{Digest, ManifestDigest},
    error::Error,
    model::{MANIFEST_MAX, Manifest, platform::Platform},
    seal::annotation::SIGNATURE_MAX,
    transport::{Artifacts, Chosen, Document, Root, Source, digest_of},
};

/// The most seals that come with one image.
const SEALS_MAX: usize = 64;
/// The most entries of a seal.
const ENTRIES_MAX: usize = 16;

/// An artifact on the medium of its subject.
struct Beside<'a> {
    source: &'a dyn Source,
    root: Root,
}

impl Source for Beside<'_> {
    fn describe(&self) -> String {
        format!("{} of {}", self.root.digest, self.source.describe())
    }

    fn root(&self) -> Result<Root, Error> {
        Ok(self.root.clone())
    }

    fn document(&self, descriptor: &Descriptor, max: u64) -> Result<Document, Error> {
        self.source.document(descriptor, max)
    }

    fn gives_afresh(&self) -> bool {
        self.source.gives_afresh()
    }

    fn waits(&self) -> bool {
        self.source.waits()
    }

    fn manifest(&self, _: &Platform) -> Result<Chosen, Error> {
        Ok(Chosen { bytes: self.root.bytes.clone(), digest: self.root.digest.clone(), warning: None })
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        self.source.blob(descriptor)
    }
}

/// Brings the artifacts about an image that was pulled.
pub(super) fn bring(
    writer: &Writer,
    source: &dyn Source,
    subject: &ManifestDigest,
    options: &PullOptions,
    observer: &dyn Observer,
) -> Result<Vec<ManifestDigest>, Error> {
    let which = options.artifacts;
    if which == Artifacts::None {
        return Ok(Vec::new());
    }
    let warn = |text: String| observer.event(&Event::Warning { text: &text });
    let listed = match source.artifacts_of(subject.digest(), which.kind()) {
        Ok(listed) => listed,
        Err(error) if which == Artifacts::Seals && !options.cancel.is_cancelled() => {
            warn(format!("whether the image is sealed cannot be learnt: {error}"));
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut brought = Vec::new();
    for descriptor in &listed {
        if which == Artifacts::Seals && brought.len() == SEALS_MAX {
            warn(format!("more than {SEALS_MAX} seals; the rest is left"));
            break;
        }
        match one(writer, source, subject.digest(), descriptor, options, observer) {
            Ok(Some(digest)) => brought.push(digest),
            Ok(None) => warn(format!("{} says that it is about the image, and is not", descriptor.digest())),
            Err(error) if which == Artifacts::Seals && !options.cancel.is_cancelled() => {
                warn(format!("the seal {} cannot be had: {error}", descriptor.digest()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(brought)
}

fn one(
    writer: &Writer,
    source: &dyn Source,
    subject: &Digest,
    descriptor: &Descriptor,
    options: &PullOptions,
    observer: &dyn Observer,
) -> Result<Option<ManifestDigest>, Error> {
    let bytes = source.document(descriptor, MANIFEST_MAX)?;
    let digest = digest_of(descriptor)?;
    let manifest = Manifest::parse_as(bytes.clone(), ManifestDigest::new(digest.clone()))
        .map_err(|source| Error::model(&digest, source))?;
    let about =
        manifest.parsed().subject().as_ref().is_some_and(|to| to.digest().as_ref() == subject.as_str());
    if !about {
        return Ok(None);
    }
    if options.artifacts == Artifacts::Seals {
        let large = manifest.layers().iter().map(Descriptor::size).max().unwrap_or(0);
        if large > SIGNATURE_MAX as u64 || manifest.layers().len() > ENTRIES_MAX {
            return Err(Error::TooLarge { digest, size: large, max: SIGNATURE_MAX as u64 });
        }
    }
    let media_type = descriptor.media_type().to_string();
    let beside = Beside { source, root: Root { bytes, digest, media_type } };
    let pulling = PullOptions::default()
        .mode(options.mode)
        .jobs(options.jobs)
        .space(options.space)
        .origin(None)
        .cancel(options.cancel.clone());
    Ok(Some(pull(writer, &beside, &pulling, observer)?.manifest))
}
