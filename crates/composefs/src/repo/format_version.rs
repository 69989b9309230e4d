//! The image formats, until the writer of images has them.

use std::fmt;

/// The layouts of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FormatVersion {
    /// The first layout of the C tools.
    V0,
    /// The same, with whiteouts that survive a second overlayfs. The default.
    #[default]
    V1,
    /// The layout of composefs 0.3.
    V2,
}

impl FormatVersion {
    /// All versions.
    pub const ALL: [Self; 3] = [Self::V0, Self::V1, Self::V2];

    /// Returns the number in the header: 0, 1 or 2.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// Finds the version by its number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::V0),
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            _ => None,
        }
    }

    /// Tells whether this is V0 or V1, which share nearly everything.
    #[must_use]
    pub const fn is_epoch1(self) -> bool {
        matches!(self, Self::V0 | Self::V1)
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.number(), f)
    }
}
