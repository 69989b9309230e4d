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

    /// Tells whether something made for `offered` runs on this platform: equal, where a variant that only one side
    /// names is the architecture's default, and an older variant of arm runs on a newer one.
    #[must_use]
    pub fn accepts(&self, offered: &Self) -> bool {
        if self.os != offered.os || self.architecture != offered.architecture {
            return false;
        }
        let wanted = self.variant_or_default();
        let have = offered.variant_or_default();
        if self.architecture == "arm"
            && let (Some(wanted), Some(have)) = (arm_number(wanted), arm_number(have))
        {
            return have <= wanted;
        }
        wanted == have
    }

    fn variant_or_default(&self) -> &str {
        match (&self.variant, self.architecture.as_str()) {
            (Some(variant), _) if !variant.is_empty() => variant,
            (_, "arm64") => "v8",
            (_, "arm") => "v7",
            (_, "amd64") => "v1",
            _ => "",
        }
    }
}

fn arm_number(variant: &str) -> Option<u32> {
    variant.strip_prefix('v')?.parse().ok()
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
                let architecture = match architecture.as_str() {
                    "x86_64" => "amd64".to_owned(),
                    "aarch64" => "arm64".to_owned(),
                    _ => architecture,
                };
                Ok(Self { os, architecture, variant })
            }
            _ => Err(PlatformError(text.to_owned())),
        }
    }
}

impl From<&oci_spec::image::Platform> for Platform {
    fn from(platform: &oci_spec::image::Platform) -> Self {
        Self {
            os: platform.os().to_string(),
            architecture: platform.architecture().to_string(),
            variant: platform.variant().clone(),
        }
    }
}

impl From<&oci_spec::image::ImageConfiguration> for Platform {
    fn from(config: &oci_spec::image::ImageConfiguration) -> Self {
        Self {
            os: config.os().to_string(),
            architecture: config.architecture().to_string(),
            variant: config.variant().clone(),
        }
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
        for bad in ["", "linux", "linux/", "/amd64", "linux/arm/", "a/b/c/d"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
