//! Platforms, and which manifest of an index fits one.
//!
//! # Format
//! OCI image-spec, image index; `docs/formats/oci.md`, sections 6 and 7.

use std::{fmt, str::FromStr};

/// An operating system, an architecture and perhaps a variant of it, in OCI's (Go's) words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `linux`, …
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …
    pub variant: Option<String>,
}

/// Not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform such as linux/arm64 or linux/arm/v7")]
pub struct PlatformError(String);

impl Platform {
    /// Returns the platform this program was built for.
    #[must_use]
    pub fn native() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "powerpc64" => ("ppc64", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self {
            os: std::env::consts::OS.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// Tells whether something made for `offered` runs on this platform.
    #[must_use]
    pub fn accepts(&self, offered: &Self) -> bool {
        self.distance(offered).is_some()
    }

    /// Returns how far something made for `offered` is from the best for this platform, 0 being that; `None` if it
    /// does not run here.
    ///
    /// A variant that is not said is the architecture's default: v1 of amd64, v7 of arm, v8 of arm64; but of arm the
    /// last choice. Older variants of these run on newer ones.
    #[must_use]
    pub fn distance(&self, offered: &Self) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture || self.is_unknown() {
            return None;
        }
        if self.architecture == "arm" && self.said_variant().is_some() && offered.said_variant().is_none() {
            // Nobody knows what it is: the last choice.
            return Some(u32::MAX);
        }
        if self.variant_or_default() == offered.variant_or_default() {
            // Equal words are better than equal meaning.
            return Some(u32::from(self.said_variant() != offered.said_variant()));
        }
        if !matches!(self.architecture.as_str(), "amd64" | "arm" | "arm64") {
            return None;
        }
        let (wanted, have) = (version(self.variant_or_default())?, version(offered.variant_or_default())?);
        Some(wanted.checked_sub(have)?.saturating_add(1))
    }

    /// Tells whether it says that it is for no platform, as attestations do.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == UNKNOWN || self.architecture == UNKNOWN
    }

    fn said_variant(&self) -> Option<&str> {
        self.variant.as_deref().filter(|variant| !variant.is_empty())
    }

    fn variant_or_default(&self) -> &str {
        match (self.said_variant(), self.architecture.as_str()) {
            (Some(variant), _) => variant,
            (_, "arm64") => "v8",
            (_, "arm") => "v7",
            (_, "amd64") => "v1",
            _ => "",
        }
    }

    /// Writes names as Go does, where there are several of one thing.
    fn normalised(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let lower = architecture.to_ascii_lowercase();
        let (architecture, implied) = match lower.as_str() {
            "x86_64" | "x86-64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "armhf" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            "i386" | "i486" | "i586" | "i686" => ("386", None),
            other => (other, None),
        };
        let variant = variant.filter(|variant| !variant.is_empty()).or(implied);
        Self { os, architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }
}

/// What attestations in an index are for.
const UNKNOWN: &str = "unknown";

/// Reads a variant such as `v7` or `v8.2` as a number that grows with it.
fn version(variant: &str) -> Option<u32> {
    let (major, minor) = variant.strip_prefix('v')?.split_once('.').unwrap_or((variant.get(1..)?, "0"));
    let (major, minor): (u8, u8) = (major.parse().ok()?, minor.parse().ok()?);
    (minor < 100).then(|| u32::from(major) * 100 + u32::from(minor))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let mut parts = text.split('/').map(str::to_owned);
        let (os, architecture, variant) = (parts.next(), parts.next(), parts.next());
        match (os, architecture) {
            (Some(os), Some(architecture))
                if !os.is_empty()
                    && !architecture.is_empty()
                    && parts.next().is_none()
                    && variant.as_deref() != Some("") =>
            {
                Ok(Self::normalised(&os, &architecture, variant.as_deref()))
            }
            _ => Err(PlatformError(text.to_owned())),
        }
    }
}

impl From<&oci_spec::image::Platform> for Platform {
    fn from(platform: &oci_spec::image::Platform) -> Self {
        let (os, architecture) = (platform.os().to_string(), platform.architecture().to_string());
        Self::normalised(&os, &architecture, platform.variant().as_deref())
    }
}

impl From<&oci_spec::image::ImageConfiguration> for Platform {
    fn from(config: &oci_spec::image::ImageConfiguration) -> Self {
        let (os, architecture) = (config.os().to_string(), config.architecture().to_string());
        Self::normalised(&os, &architecture, config.variant().as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_what() {
        let fits = |wanted: &str, offered: &str| {
            wanted.parse::<Platform>().unwrap().accepts(&offered.parse().unwrap())
        };
        assert!(fits("linux/amd64", "linux/amd64"));
        assert!(fits("linux/arm64", "linux/arm64/v8"));
        assert!(fits("linux/arm64/v8", "linux/arm64"));
        assert!(fits("linux/arm/v7", "linux/arm/v6"));
        assert!(!fits("linux/arm/v6", "linux/arm/v7"));
        assert!(!fits("linux/amd64", "linux/arm64"));
        assert!(!fits("linux/amd64", "windows/amd64"));
        assert!(!fits("linux/amd64", "linux/amd64/v3"));
        assert!(fits("linux/amd64/v3", "linux/amd64/v2"));
        assert!(fits("linux/arm64/v8.2", "linux/arm64"));
        assert!(!fits("linux/arm64", "linux/arm64/v9"));
        assert!(!fits("unknown/unknown", "unknown/unknown"));
        for bad in ["", "linux", "linux/", "/amd64", "linux/arm/", "a/b/c/d"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_first() {
        let order = |wanted: &str, offered: &[&str]| {
            let wanted: Platform = wanted.parse().unwrap();
            let distance = |offered: &str| wanted.distance(&offered.parse().unwrap());
            let distances: Vec<_> = offered.iter().map(|offered| distance(offered).unwrap()).collect();
            assert!(distances.is_sorted_by(|a, b| a < b), "{wanted}: {distances:?}");
        };
        order("linux/arm/v7", &["linux/arm/v7", "linux/arm/v6", "linux/arm/v5", "linux/arm"]);
        order("linux/arm64", &["linux/arm64", "linux/arm64/v8"]);
        order("linux/arm64/v8.2", &["linux/arm64/v8.2", "linux/arm64/v8.1", "linux/arm64/v8"]);
        order("linux/amd64/v3", &["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"]);
    }

    #[test]
    fn other_names() {
        for (text, expected) in [
            ("linux/x86-64", "linux/amd64"),
            ("Linux/aarch64", "linux/arm64"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i686", "linux/386"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), expected);
        }
    }
}
