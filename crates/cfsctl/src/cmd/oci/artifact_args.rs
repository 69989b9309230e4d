//! The option of every verb that brings an image from one place to another.

use clap::{Args, ValueEnum};
use composefs_oci::transport::Artifacts;

/// What comes with an image.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct ArtifactArgs {
    /// Bring along what refers to the image; default: seals, of which it is only a warning that they cannot be had
    #[arg(
        long,
        value_name = "WHICH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all"
    )]
    with_referrers: Option<Which>,
}

/// What of all that refers to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Nothing
    None,
    /// What seals it
    Seals,
    /// Everything: signatures, lists of contents and the like
    All,
}

impl ArtifactArgs {
    pub(crate) const fn which(self) -> Artifacts {
        match self.with_referrers {
            Some(Which::None) => Artifacts::None,
            None | Some(Which::Seals) => Artifacts::Seals,
            Some(Which::All) => Artifacts::All,
        }
    }
}
