//! Out of the repository: an image as a [`Source`](crate::transport::Source), its layers put together again bit by
//! bit, packed if they shall be, so that [`copy`](mod@crate::copy) brings it to any medium that takes images.
//!
//! The config stays what it is, and so the image's id. The manifest does if every layer goes out as its blob came in: a
//! tar that was never packed, or a blob that was kept at pull. Otherwise it is made anew, with the layers' new digests,
//! sizes and types and nothing else changed. Layers are packed into unnamed files before anything is sent, since their
//! digests must be known; a note beside the repository remembers these, so that what a registry has already is
//! not packed again.
//!
//! The repository's shared lock is held as long as its [`StoredSource`] lives.

mod artifact;
mod blocks;
mod kept;
mod manifest;
pub mod known;
mod options;
mod pack;
pub mod save;
mod source;

use composefs::{
    progress::{Event, Observer},
    repo::Repository,
};

use crate::{
    copy::{Copied, CopyOptions, Which, copy},
    error::Error,
    find::Name,
    stored::referrers,
    transport::{Artifacts, Sink},
};

pub use kept::KeptSource;
pub use options::{ExportOptions, Packing, PackingError};
pub use source::{ExportedImage, ExportedLayer, Form, StoredSource};

/// What was brought out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pushed {
    /// What the copy did.
    pub copied: Copied,
    /// The images, with what became of their layers; one unless an index was brought out.
    pub images: Vec<ExportedImage>,
}

/// Brings an image of the repository to a medium.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::LayerMismatch`] for a layer that is damaged here; otherwise as
/// [`copy`]. Whatever happens, the destination's name leads to what it led to before, or to the whole
/// image.
pub fn push(
    repo: &Repository,
    name: &Name,
    sink: &dyn Sink,
    options: &ExportOptions,
    observer: &dyn Observer,
) -> Result<Pushed, Error> {
    let span = tracing::info_span!("push", name = %name, to = %sink.describe());
    let _entered = span.enter();
    let mut notes = known::Use::Believe;
    loop {
        let source = StoredSource::open(repo, name, options, notes, observer)?;
        let copying = CopyOptions::default()
            .which(Which::All)
            .artifacts(options.artifacts)
            .jobs(options.jobs)
            .cancel(options.cancel.clone());
        match copy(&source, sink, &copying, observer) {
            // Another version of the compressor than the one that the note is of.
            Err(Error::PackedOtherwise { layer }) if notes == known::Use::Believe => {
                tracing::debug!(%layer, "packs to something else than is noted");
                notes = known::Use::Renew;
            }
            Err(error) => return Err(error),
            Ok(copied) => {
                let images = source.into_images();
                warn_of_seals(repo, &images, options, observer)?;
                return Ok(Pushed { copied, images });
            }
        }
    }
}

/// Says which images had to get another manifest, so that what is about them has stayed behind.
fn warn_of_seals(
    repo: &Repository,
    images: &[ExportedImage],
    options: &ExportOptions,
    observer: &dyn Observer,
) -> Result<(), Error> {
    if options.artifacts == Artifacts::None {
        return Ok(());
    }
    for image in images.iter().filter(|image| image.manifest != image.original) {
        let behind = referrers::list(repo, &image.original)?.len();
        if behind > 0 {
            let text = format!(
                "{behind} that refer to {} stay behind: the manifest that went out is another one, {}",
                image.original, image.manifest
            );
            observer.event(&Event::Warning { text: &text });
        }
    }
    Ok(())
}
