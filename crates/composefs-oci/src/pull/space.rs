//! Whether a pull fits on the disk, as far as that can be known before it starts.
//!
//! A manifest says how many bytes a layer has as it is shipped, and not how many its files have; nor does anybody know
//! which of these are here already as files of other layers. So there are two figures: what is needed at the least, by
//! which a pull is refused, and what it will probably be, of which there is a warning.
//!
//! | layer | at the least | probably |
//! | --- | --- | --- |
//! | gzip | its bytes | 2.5 times as many, or what an eStargz layer says |
//! | zstd | its bytes | three times as many, or what it says |
//! | tar as it is | half of it: headers and padding are not kept, and equal files once | all of it |
//! | anything else, and layers for other platforms | its bytes | its bytes |
//! | of a store that has it as files | nothing: blocks may be shared | nothing, or all of it if they must not be |
//!
//! To these come an EROFS image for each format, one block at the least and a hundredth of the layers probably.

use std::{collections::BTreeSet, path::Path};

use composefs::{
    progress::{Event, Observer},
    repo::{FreeSpace, Repository},
};
use oci_spec::image::Descriptor;
use serde::Serialize;

use crate::{
    error::{Error, Resource},
    import::Sharing,
    model::media_type::{self, Compression},
    transport::Source,
};

use super::{
    ImageBuild, PullPlan, SpaceCheck,
    plan::{LayerKind, LayerState, PlannedLayer},
};

/// The smallest EROFS image.
const IMAGE_MIN: u64 = 4096;
/// Layers have a file for so many bytes, roughly.
const BYTES_A_FILE: u64 = 16 << 10;
/// Where eStargz says how large the tar is.
const ESTARGZ_SIZE: &str = "io.containers.estargz.uncompressed-size";

/// How much room a pull needs, and how much there is.
///
/// What is here already is not counted. For a pull that has nothing to do all that is needed is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Space {
    /// Bytes that are needed at the least.
    pub needed: u64,
    /// Bytes that will probably be needed.
    pub likely: u64,
    /// Bytes there are; `None` if nobody knows, or there is no repository yet.
    pub available: Option<u64>,
    /// Files and directories that are needed at the least.
    pub files_needed: u64,
    /// Files and directories that will probably be needed.
    pub files_likely: u64,
    /// Files and directories there is room for; `None` as for the bytes, and where there is no limit.
    pub files_available: Option<u64>,
}

impl Space {
    /// Finds out what a plan needs.
    pub(super) fn of(plan: &PullPlan, source: &dyn Source, repo: Option<&Repository>) -> Self {
        let free = repo.and_then(|repo| {
            let free = repo.free_space();
            free.inspect_err(|error| tracing::debug!(%error, "nobody knows how much room there is")).ok()
        });
        let FreeSpace { bytes, files } = free.unwrap_or(FreeSpace { bytes: None, files: None });
        let mut space = Self { available: bytes, files_available: files, ..Self::default() };
        if plan.is_whole() {
            return space;
        }
        let shared = source.has_files().then_some(plan.options.sharing);
        let mut seen = BTreeSet::new();
        for layer in plan.packed_layers().chain(&plan.layers) {
            if !matches!(layer.state, LayerState::Here(_)) && seen.insert(&layer.name) {
                space.add_layer(layer, shared);
            }
        }
        let layers = space;
        if plan.config.came {
            // The object, its stream, the entry.
            space.add((plan.config.bytes.len() as u64, plan.config.bytes.len() as u64), 3);
        }
        let builds = plan.whole.is_none()
            && plan.manifest.is_container()
            && plan.options.image == ImageBuild::Build
            && plan.layers.iter().any(|layer| !matches!(layer.state, LayerState::Here(_)));
        if builds {
            let formats = repo.map_or(1, |repo| plan.options.formats_for(repo).len() as u64);
            let image = (IMAGE_MIN, IMAGE_MIN.saturating_add(layers.likely / 100));
            for _ in 0..formats {
                space.add(image, 2);
            }
        }
        space
    }

    /// Counts bytes, at the least and probably, in so many files at the least.
    fn add(&mut self, (least, likely): (u64, u64), files: u64) {
        self.needed = self.needed.saturating_add(least);
        self.likely = self.likely.saturating_add(likely);
        self.files_needed = self.files_needed.saturating_add(files);
        self.files_likely = self.files_likely.saturating_add(files);
    }

    fn add_layer(&mut self, layer: &PlannedLayer, shared: Option<Sharing>) {
        let (least, likely) = bytes_of(layer, shared);
        match layer.kind {
            LayerKind::Tar => {
                // Its stream and the entry.
                self.add((least, likely), 2);
                self.files_likely = self.files_likely.saturating_add(likely / BYTES_A_FILE);
            }
            LayerKind::OpaqueTar | LayerKind::Blob | LayerKind::Packed => self.add((least, likely), 3),
        }
    }
}

/// The bytes that a layer takes, at the least and probably.
fn bytes_of(layer: &PlannedLayer, shared: Option<Sharing>) -> (u64, u64) {
    let descriptor = &layer.descriptor;
    let size = descriptor.size();
    if matches!(layer.kind, LayerKind::Blob | LayerKind::Packed) {
        return (size, size);
    }
    match shared.filter(|_| layer.state == LayerState::Comes) {
        Some(Sharing::Never) | None => {}
        Some(_) => return (0, 0),
    }
    let expanded = |likely: u64| (size, uncompressed(descriptor).unwrap_or(likely).max(size));
    match media_type::tar_layer(descriptor.media_type().as_ref()) {
        Some(Compression::None) => (size / 2, size),
        Some(Compression::Gzip) => expanded(size.saturating_mul(5) / 2),
        Some(Compression::Zstd) => expanded(size.saturating_mul(3)),
        // It may be a tar as it is.
        None => (size / 2, size),
    }
}

/// What a descriptor says of the size of the tar.
fn uncompressed(descriptor: &Descriptor) -> Option<u64> {
    descriptor.annotations().as_ref()?.get(ESTARGZ_SIZE)?.parse().ok()
}

impl PullPlan {
    /// Refuses what cannot fit into the repository at `path`, and warns of what probably does not.
    pub(super) fn check_space(&self, path: &Path, observer: &dyn Observer) -> Result<(), Error> {
        if self.options.space == SpaceCheck::Skip {
            return Ok(());
        }
        let Space { needed, likely, available, files_needed, files_likely, files_available } = self.space;
        for (resource, needed, likely, available) in [
            (Resource::Bytes, needed, likely, available),
            (Resource::Files, files_needed, files_likely, files_available),
        ] {
            let Some(available) = available else { continue };
            if needed > available {
                return Err(Error::NoSpace { path: path.to_owned(), resource, needed, available });
            }
            if likely > available {
                let text = format!(
                    "this probably takes {}, and {} has {}",
                    resource.more_than(likely),
                    path.display(),
                    resource.less_than(available)
                );
                observer.event(&Event::Warning { text: &text });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
