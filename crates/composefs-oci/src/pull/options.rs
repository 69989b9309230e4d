//! How an image is pulled.

use composefs::{
    erofs::FormatVersion,
    progress::Cancel,
    repo::{Repository, fan_out},
};
use composefs_tar::Mode;

use crate::{
    digest::ManifestDigest, import::Sharing, model::platform::Platform, reference::Reference,
    transport::Artifacts,
};

/// The most jobs there are unless more are asked for: what they cost in memory is bounded, too.
const JOBS_MAX: usize = 16;

/// How an image is pulled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PullOptions {
    /// The tag to give; none leaves the image without a name, for the next collection to take.
    pub tag: Option<String>,
    /// Which image of several; default: this machine's.
    pub platform: Platform,
    /// Whether the images for other platforms come too.
    pub platforms: Platforms,
    /// Lenient takes what container runtimes take, strict what upstream takes.
    pub mode: Mode,
    /// Threads that store files, and layers imported at once; default: as many as cores, at most 16. Memory grows
    /// with them, by about 4 MiB each.
    pub jobs: usize,
    /// Whether to build the EROFS images.
    pub image: ImageBuild,
    /// Whether the layers are kept as they are shipped, too.
    pub blobs: Blobs,
    /// The manifest that is expected; another one is refused before anything is fetched.
    pub expected: Option<ManifestDigest>,
    /// The EROFS formats of the images; none: those of the repository.
    pub formats: Vec<FormatVersion>,
    /// Whether files of a medium that has them unpacked share their blocks with the objects.
    pub sharing: Sharing,
    /// Whether a pull that would not fit on the disk is refused before it starts.
    pub space: SpaceCheck,
    /// The reference to note beside the repository, from which the image can be mended; none notes nothing.
    pub origin: Option<Reference>,
    /// Which artifacts about the image come with it; default: none.
    pub artifacts: Artifacts,
    /// Asks the pull to stop; layers that are finished by then are kept.
    pub cancel: Cancel,
}

/// Whether a pull builds the image's EROFS images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageBuild {
    /// One for each format of the repository.
    #[default]
    Build,
    /// None.
    Skip,
}

/// Whether it is looked first if there is room for a pull.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpaceCheck {
    /// What cannot fit is refused, and what probably does not is warned of.
    #[default]
    Refuse,
    /// It is tried, and fails when the disk is full.
    Skip,
}

/// What becomes of an image's layers as they are shipped, once they are unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blobs {
    /// They are not kept; what an earlier pull has kept stays.
    #[default]
    Drop,
    /// They are kept, so that a push gives the manifest that was pulled.
    Keep,
}

/// Which images of an index are pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Platforms {
    /// The one for the platform.
    #[default]
    One,
    /// Also all others, their layers kept as they are shipped, and the index with them.
    All,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            tag: None,
            platform: Platform::native(),
            platforms: Platforms::One,
            mode: Mode::Lenient,
            jobs: fan_out::processors().min(JOBS_MAX),
            image: ImageBuild::Build,
            blobs: Blobs::Drop,
            expected: None,
            formats: Vec::new(),
            sharing: Sharing::default(),
            space: SpaceCheck::default(),
            origin: None,
            artifacts: Artifacts::None,
            cancel: Cancel::default(),
        }
    }
}

impl PullOptions {
    /// Sets the tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Sets the platform.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// Sets whether the images for other platforms come too.
    #[must_use]
    pub fn platforms(mut self, platforms: Platforms) -> Self {
        self.platforms = platforms;
        self
    }

    /// Sets the mode.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the number of threads; at least one.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.max(1);
        self
    }

    /// Sets whether images are built.
    #[must_use]
    pub fn image(mut self, image: ImageBuild) -> Self {
        self.image = image;
        self
    }

    /// Sets whether the layers are kept as they are shipped.
    #[must_use]
    pub fn blobs(mut self, blobs: Blobs) -> Self {
        self.blobs = blobs;
        self
    }

    /// Sets the manifest that must come.
    #[must_use]
    pub fn expected(mut self, digest: ManifestDigest) -> Self {
        self.expected = Some(digest);
        self
    }

    /// Sets the EROFS formats of the images.
    #[must_use]
    pub fn formats(mut self, formats: Vec<FormatVersion>) -> Self {
        self.formats = formats;
        self
    }

    /// Sets whether files share their blocks with the objects.
    #[must_use]
    pub fn sharing(mut self, sharing: Sharing) -> Self {
        self.sharing = sharing;
        self
    }

    /// Sets whether it is looked first if there is room.
    #[must_use]
    pub fn space(mut self, space: SpaceCheck) -> Self {
        self.space = space;
        self
    }

    /// Sets the reference to note; a [lasting](Reference::lasting) one.
    #[must_use]
    pub fn origin(mut self, reference: Option<Reference>) -> Self {
        self.origin = reference;
        self
    }

    /// Sets which artifacts about the image come with it.
    #[must_use]
    pub fn artifacts(mut self, artifacts: Artifacts) -> Self {
        self.artifacts = artifacts;
        self
    }

    /// Sets what asks the pull to stop.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    pub(super) fn formats_for(&self, repo: &Repository) -> Vec<FormatVersion> {
        if self.formats.is_empty() { repo.erofs_formats().iter().collect() } else { self.formats.clone() }
    }
}
