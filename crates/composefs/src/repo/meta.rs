//! `meta.json`: format version, algorithm, features, EROFS formats.
//!
//! In: the bytes of the file. Out: what they mean for us; what we may not do with the repository is told,
//! not decided, here.
//!
//! # Format
//! `docs/formats/repository.md`, section 2.

pub(super) mod file;

use serde::{Deserialize, Serialize};

use crate::{
    digest::{Algorithm, VerityAlgorithm},
    erofs::FormatVersion,
};

/// The largest `meta.json` that is read, in bytes.
pub const SIZE_MAX: u64 = 1 << 20;

/// The format version that is written.
pub const VERSION: u32 = 1;

/// The feature that says: images are V1 unless `erofs_formats` says otherwise.
pub const FEATURE_V1_EROFS: &str = "v1_erofs";

/// Which EROFS formats new images get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErofsFormats {
    /// The format whose image is named and mounted.
    pub default: FormatVersion,
    /// Further formats written for each image, sorted, without `default`.
    pub extra: Vec<FormatVersion>,
}

impl ErofsFormats {
    /// Takes one format and no others.
    #[must_use]
    pub const fn only(default: FormatVersion) -> Self {
        Self { default, extra: Vec::new() }
    }

    /// Adds a format to be written besides.
    #[must_use]
    pub fn with_extra(mut self, version: FormatVersion) -> Self {
        if version != self.default {
            self.extra.push(version);
            self.extra.sort_unstable();
            self.extra.dedup();
        }
        self
    }

    /// Walks all formats to write, the default first.
    pub fn iter(&self) -> impl Iterator<Item = FormatVersion> + '_ {
        std::iter::once(self.default).chain(self.extra.iter().copied())
    }
}

/// What `meta.json` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The format version; 0 may be read and not written.
    pub version: u32,
    /// The algorithm of every id.
    pub algorithm: Algorithm,
    /// The effective EROFS formats.
    pub erofs: ErofsFormats,
    /// Unknown features that allow reading and no writing.
    pub unknown_read_only: Vec<String>,
}

/// Why a `meta.json` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetaError {
    /// Larger than [`SIZE_MAX`].
    #[error("larger than {SIZE_MAX} bytes")]
    TooLarge,
    /// Not JSON of the right shape.
    #[error("not valid metadata")]
    Json(#[from] serde_json::Error),
    /// A format newer than we know.
    #[error("unsupported repository format version {0} (this tool supports up to {VERSION})")]
    Version(u32),
    /// Features without which the repository must not even be read.
    #[error("unknown incompatible features {}", .0.join(", "))]
    Incompatible(Vec<String>),
    /// An EROFS format other than 0, 1 and 2.
    #[error("unknown EROFS format {0}")]
    ErofsFormat(u32),
    /// The algorithm is none we know.
    #[error(transparent)]
    Algorithm(#[from] crate::digest::AlgorithmError),
}

impl MetaError {
    /// Returns what a user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        matches!(self, Self::Version(_) | Self::Incompatible(_))
            .then(|| "a newer version wrote this repository; use that to read it".to_owned())
    }
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    algorithm: String,
    #[serde(default)]
    features: Features,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erofs_formats: Option<Formats>,
}

#[derive(Default, Serialize, Deserialize)]
struct Features {
    #[serde(default)]
    compatible: Vec<String>,
    #[serde(default, rename = "read-only-compatible")]
    read_only_compatible: Vec<String>,
    #[serde(default)]
    incompatible: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Formats {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    extra: Vec<u32>,
}

fn format_version(number: u32) -> Result<FormatVersion, MetaError> {
    FormatVersion::from_number(number).ok_or(MetaError::ErofsFormat(number))
}

impl Meta {
    /// Describes a new repository.
    #[must_use]
    pub const fn new(algorithm: Algorithm, erofs: ErofsFormats) -> Self {
        Self { version: VERSION, algorithm, erofs, unknown_read_only: Vec::new() }
    }

    /// Parses the file. Unknown fields are ignored.
    ///
    /// # Errors
    /// As [`MetaError`] says; a version above 1 and unknown incompatible features included.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetaError> {
        if bytes.len() as u64 > SIZE_MAX {
            return Err(MetaError::TooLarge);
        }
        let file: File = serde_json::from_slice(bytes)?;
        if file.version > VERSION {
            return Err(MetaError::Version(file.version));
        }
        let VerityAlgorithm(algorithm) = file.algorithm.parse()?;
        if !file.features.incompatible.is_empty() {
            return Err(MetaError::Incompatible(file.features.incompatible));
        }
        let (known, unknown_read_only): (Vec<_>, Vec<_>) =
            file.features.read_only_compatible.into_iter().partition(|name| name == FEATURE_V1_EROFS);
        let by_feature = if known.is_empty() { FormatVersion::V2 } else { FormatVersion::V1 };
        let mut erofs = ErofsFormats::only(by_feature);
        if let Some(formats) = file.erofs_formats {
            let default = formats.default.map(format_version).transpose()?;
            // `{"default": 2}` alone is what writers without formats put there: the feature decides.
            if let Some(default) = default
                && (default != FormatVersion::V2 || !formats.extra.is_empty())
            {
                erofs = ErofsFormats::only(default);
            }
            for number in formats.extra {
                erofs = erofs.with_extra(format_version(number)?);
            }
        }
        Ok(Self { version: file.version, algorithm, erofs, unknown_read_only })
    }

    /// Returns the bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let features = match self.erofs.default {
            FormatVersion::V1 => vec![FEATURE_V1_EROFS.to_owned()],
            _ => Vec::new(),
        };
        let file = File {
            version: self.version,
            algorithm: VerityAlgorithm(self.algorithm).to_string(),
            features: Features { read_only_compatible: features, ..Features::default() },
            erofs_formats: Some(Formats {
                default: Some(self.erofs.default.number()),
                extra: self.erofs.extra.iter().map(|version| version.number()).collect(),
            }),
        };
        // Strings and numbers only: there is nothing that could not be written.
        let mut bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests;
