//! How an image is brought out.

use std::{fmt, str::FromStr};

use composefs::{progress::Cancel, repo::fan_out};

use crate::{model::media_type::Compression, transport::Artifacts};

/// The most threads that pack, and blobs sent at once, unless more are asked for: memory grows with them.
const JOBS_MAX: usize = 8;

/// What becomes of the layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packing {
    /// As they came: the very blob where it was kept, else packed in the way the manifest says.
    #[default]
    AsPulled,
    /// Tars as they are.
    Plain,
    /// gzip, at a level from 0 to 9; without one at 6, and blobs that were kept and are gzip are taken.
    Gzip(Option<u32>),
    /// zstd, at a level from 1 to 22; without one at 3, and blobs that were kept and are zstd are taken.
    Zstd(Option<i32>),
}

/// Not a way to pack layers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackingError {
    /// A compression that is none.
    #[error("`{0}` is not gzip, zstd or none")]
    Unknown(String),
    /// A level that it does not have.
    #[error("{compression} has no level {level}, but {least} to {most}")]
    Level {
        /// Which.
        compression: &'static str,
        /// The level.
        level: i64,
        /// The least it has.
        least: i64,
        /// The most.
        most: i64,
    },
    /// A level for what has none.
    #[error("a level goes with a compression")]
    NoCompression,
}

/// A compression, and how much is spent on it: what decides a packed layer's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    Gzip(u32),
    Zstd(i32),
}

const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

impl Packing {
    /// Makes one of what a user says.
    ///
    /// # Errors
    /// [`PackingError`].
    pub fn new(compression: Option<&str>, level: Option<i64>) -> Result<Self, PackingError> {
        let within = |compression, least: i64, most: i64| match level {
            Some(level) if level < least || level > most => {
                Err(PackingError::Level { compression, level, least, most })
            }
            _ => Ok(()),
        };
        match compression {
            None | Some("none") if level.is_some() => Err(PackingError::NoCompression),
            None => Ok(Self::AsPulled),
            Some("none") => Ok(Self::Plain),
            Some("gzip") => {
                within("gzip", 0, 9)?;
                Ok(Self::Gzip(level.and_then(|level| u32::try_from(level).ok())))
            }
            Some("zstd") => {
                within("zstd", 1, 22)?;
                Ok(Self::Zstd(level.and_then(|level| i32::try_from(level).ok())))
            }
            Some(other) => Err(PackingError::Unknown(other.to_owned())),
        }
    }

    /// Returns how a layer is packed of which the manifest says `said`; `None` leaves it a tar.
    pub(super) fn setting(self, said: Option<Compression>) -> Option<Setting> {
        match self {
            Self::AsPulled => match said {
                Some(Compression::None) => None,
                Some(Compression::Zstd) => Some(Setting::Zstd(ZSTD_LEVEL)),
                Some(Compression::Gzip) | None => Some(Setting::Gzip(GZIP_LEVEL)),
            },
            Self::Plain => None,
            Self::Gzip(level) => Some(Setting::Gzip(level.unwrap_or(GZIP_LEVEL))),
            Self::Zstd(level) => Some(Setting::Zstd(level.unwrap_or(ZSTD_LEVEL))),
        }
    }

    /// Tells whether a blob that was kept, packed so, is what is asked for.
    pub(super) fn takes(self, kept: Compression) -> bool {
        match self {
            Self::AsPulled => true,
            Self::Plain => kept == Compression::None,
            Self::Gzip(level) => level.is_none() && kept == Compression::Gzip,
            Self::Zstd(level) => level.is_none() && kept == Compression::Zstd,
        }
    }
}

impl Setting {
    pub(super) const fn compression(self) -> Compression {
        match self {
            Self::Gzip(_) => Compression::Gzip,
            Self::Zstd(_) => Compression::Zstd,
        }
    }
}

/// The words of notes: a change of the program that changes the bytes changes the number, too.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gzip(level) => write!(f, "gzip-{level}-1"),
            Self::Zstd(level) => write!(f, "zstd-{level}-1"),
        }
    }
}

impl FromStr for Packing {
    type Err = PackingError;

    fn from_str(text: &str) -> Result<Self, PackingError> {
        Self::new(Some(text), None)
    }
}

/// How an image is brought out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExportOptions {
    /// What becomes of the layers; default: [`Packing::AsPulled`].
    pub packing: Packing,
    /// Whether the index that is kept with a tag goes out with all its images; default: the image alone.
    pub all: bool,
    /// Which artifacts about the image go out with it; default: none.
    pub artifacts: Artifacts,
    /// Threads that pack, and blobs sent at once; default: as many as cores, at most 8.
    pub jobs: usize,
    /// Asks the export to stop.
    pub cancel: Cancel,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            packing: Packing::default(),
            all: false,
            artifacts: Artifacts::None,
            jobs: fan_out::processors().min(JOBS_MAX),
            cancel: Cancel::default(),
        }
    }
}

impl ExportOptions {
    /// Sets what becomes of the layers.
    #[must_use]
    pub const fn packing(mut self, packing: Packing) -> Self {
        self.packing = packing;
        self
    }

    /// Sets whether an index goes out with all its images.
    #[must_use]
    pub const fn all(mut self, all: bool) -> Self {
        self.all = all;
        self
    }

    /// Sets which artifacts about the image go out with it.
    #[must_use]
    pub const fn artifacts(mut self, artifacts: Artifacts) -> Self {
        self.artifacts = artifacts;
        self
    }

    /// Sets the number of threads; at least one.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.max(1);
        self
    }

    /// Sets what asks the export to stop.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_say() {
        assert_eq!(Packing::new(None, None), Ok(Packing::AsPulled));
        assert_eq!(Packing::new(Some("none"), None), Ok(Packing::Plain));
        assert_eq!(Packing::new(Some("gzip"), Some(9)), Ok(Packing::Gzip(Some(9))));
        assert_eq!(Packing::new(Some("zstd"), None), Ok(Packing::Zstd(None)));
        assert_eq!(Packing::new(Some("none"), Some(1)), Err(PackingError::NoCompression));
        assert!(matches!(Packing::new(Some("gzip"), Some(10)), Err(PackingError::Level { most: 9, .. })));
        assert!(matches!(Packing::new(Some("zstd"), Some(0)), Err(PackingError::Level { least: 1, .. })));
        assert!(matches!("xz".parse::<Packing>(), Err(PackingError::Unknown(_))));
    }
}
