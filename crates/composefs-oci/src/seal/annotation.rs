//! The annotations that carry digests: their keys, and what stands in their values.
//!
//! # Format
//! `docs/formats/sealing.md`, sections 1 and 2.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use composefs::{
    digest::{Algorithm, ObjectId, VerityAlgorithm},
    erofs::FormatVersion,
};

/// The largest signature the kernel takes, in bytes.
pub const SIGNATURE_MAX: usize = 16_128;
/// Ends the key of an inline signature.
pub(crate) const SIGNATURE: &str = ".sig";

/// What a digest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The manifest's bytes.
    Manifest,
    /// The config's bytes.
    Config,
    /// The image of all layers merged.
    Merged,
    /// Its variant that boots.
    Boot,
    /// The image of one layer alone.
    Layer,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Merged => "merged",
            Self::Boot => "merged.bootable",
            Self::Layer => "layer",
        }
    }

    /// Tells whether it is of an image that is made, and not of bytes that are there.
    #[must_use]
    pub const fn is_image(self) -> bool {
        matches!(self, Self::Merged | Self::Boot | Self::Layer)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Boot => "boot",
            other => other.name(),
        })
    }
}

/// What a digest is of, and how it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// What it is of.
    pub role: Role,
    /// The EROFS format of an image; `None` for plain files.
    pub format: Option<FormatVersion>,
    /// The hash.
    pub algorithm: Algorithm,
}

/// An annotation of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Annotation {
    /// A digest.
    Digest(Key, ObjectId),
    /// The signature of a digest, a CMS in DER.
    Signature(Key, Vec<u8>),
}

/// Why an annotation of ours is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnotationError {
    /// A value that is no digest of the key's algorithm.
    #[error("annotation {0}: the value is no digest of that algorithm in lower-case hex")]
    Digest(Key),
    /// A value that is no signature.
    #[error("annotation {0}.sig: the value is no signature in base64")]
    Signature(Key),
}

impl Key {
    /// Returns the key for a role: of images in format 1, which is what is sealed.
    #[must_use]
    pub const fn new(role: Role, algorithm: Algorithm) -> Self {
        let format = if role.is_image() { Some(FormatVersion::V1) } else { None };
        Self { role, format, algorithm }
    }

    /// Reads a key; `None` for those of others, and for those of ours that are not understood, which mean nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("composefs.")?;
        let (rest, algorithm) = rest.rsplit_once('.')?;
        let algorithm = algorithm.parse::<VerityAlgorithm>().ok()?.0;
        let (name, format) = match rest.split_once(".erofs.") {
            Some((name, "v1")) => (name, Some(FormatVersion::V1)),
            Some((name, "v2")) => (name, Some(FormatVersion::V2)),
            Some(_) => return None,
            None => (rest, None),
        };
        let all = [Role::Manifest, Role::Config, Role::Merged, Role::Boot, Role::Layer];
        let role = all.into_iter().find(|role| role.name() == name)?;
        (role.is_image() == format.is_some()).then_some(Self { role, format, algorithm })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "composefs.{}", self.role.name())?;
        if let Some(format) = self.format {
            write!(f, ".erofs.v{}", format.number())?;
        }
        write!(f, ".{}", VerityAlgorithm(self.algorithm))
    }
}

impl Annotation {
    /// Reads an annotation; `None` for those of others.
    ///
    /// # Errors
    /// [`AnnotationError`] for one of ours with a value that its key does not allow.
    pub fn parse(key: &str, value: &str) -> Result<Option<Self>, AnnotationError> {
        if let Some(key) = Key::parse(key) {
            let lower = value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let digest = ObjectId::from_hex(key.algorithm, value).ok().filter(|_| lower);
            return digest.map(|id| Some(Self::Digest(key, id))).ok_or(AnnotationError::Digest(key));
        }
        let Some(key) = key.strip_suffix(SIGNATURE).and_then(Key::parse) else { return Ok(None) };
        // Four characters are three bytes, so a longer one needs no decoding.
        let short = value.len() <= SIGNATURE_MAX.div_ceil(3) * 4;
        let bytes =
            STANDARD.decode(value).ok().filter(|bytes| short && (1..=SIGNATURE_MAX).contains(&bytes.len()));
        bytes.map(|bytes| Some(Self::Signature(key, bytes))).ok_or(AnnotationError::Signature(key))
    }

    /// Returns the key and the value as they are written.
    #[must_use]
    pub fn text(&self) -> (String, String) {
        match self {
            Self::Digest(key, id) => (key.to_string(), id.to_hex()),
            Self::Signature(key, bytes) => (format!("{key}{SIGNATURE}"), STANDARD.encode(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for text in [
            "composefs.layer.erofs.v1.fsverity-sha256-12",
            "composefs.merged.erofs.v1.fsverity-sha512-12",
            "composefs.merged.erofs.v2.fsverity-sha512-12",
            "composefs.merged.bootable.erofs.v1.fsverity-sha256-12",
            "composefs.config.fsverity-sha256-12",
            "composefs.manifest.fsverity-sha512-12",
        ] {
            assert_eq!(Key::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "composefs.merged.fsverity-sha256-12",
            "composefs.config.erofs.v1.fsverity-sha256-12",
            "composefs.merged.erofs.v0.fsverity-sha256-12",
            "composefs.merged.erofs.v1.fsverity-sha256-16",
            "composefs.merged.erofs.v1.fsverity-sha384-12",
            "composefs.other.fsverity-sha256-12",
            "composefs.manifest",
            "org.example.config.fsverity-sha256-12",
        ] {
            assert_eq!(Key::parse(text), None, "{text}");
            assert_eq!(Annotation::parse(text, "x"), Ok(None));
        }
        assert_eq!(
            Key::new(Role::Boot, Algorithm::Sha512).to_string(),
            "composefs.merged.bootable.erofs.v1.fsverity-sha512-12"
        );
    }

    #[test]
    fn values() {
        let key = Key::new(Role::Config, Algorithm::Sha256);
        let parse = |value: &str| Annotation::parse(&key.to_string(), value);
        let digest = parse(&"0a".repeat(32)).unwrap().unwrap();
        assert_eq!(digest.text(), (key.to_string(), "0a".repeat(32)));
        for bad in
            [&"0A".repeat(32), &"0a".repeat(31), &"0a".repeat(64), "", &format!(" {}", "0a".repeat(32))]
        {
            assert_eq!(parse(bad), Err(AnnotationError::Digest(key)), "{bad}");
        }
        let sig = |value: &str| Annotation::parse(&format!("{key}.sig"), value);
        assert_eq!(sig("AAEC"), Ok(Some(Annotation::Signature(key, vec![0, 1, 2]))));
        for bad in ["", "AAE", "AA-_", "%"] {
            assert_eq!(sig(bad), Err(AnnotationError::Signature(key)), "{bad}");
        }
        let largest = STANDARD.encode(vec![7; SIGNATURE_MAX]);
        assert_eq!(sig(&largest).unwrap().unwrap().text().1, largest);
        sig(&STANDARD.encode(vec![7; SIGNATURE_MAX + 1])).unwrap_err();
    }
}
