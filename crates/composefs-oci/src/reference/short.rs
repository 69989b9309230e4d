//! The name of an image without the registry it is in.

use std::{fmt, str::FromStr};

use crate::digest::ManifestDigest;

use super::registry::{NameError, RegistryReference, looks_like_domain};

/// A name without a domain: `debian:12`, `team/tool`. What it means is for settings to say; without any, the hub's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShortName {
    name: String,
    on_hub: RegistryReference,
}

impl ShortName {
    /// Returns the name alone, without tag and digest, as aliases have it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the image of this name on Docker Hub.
    #[must_use]
    pub fn on_hub(&self) -> RegistryReference {
        self.on_hub.clone()
    }

    /// Returns the image of a digest under the same name.
    #[must_use]
    pub fn at(&self, digest: &ManifestDigest) -> Self {
        Self { name: self.name.clone(), on_hub: self.on_hub.at(digest) }
    }
}

impl FromStr for ShortName {
    type Err = NameError;

    /// Reads a name; one with a domain is none.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let on_hub: RegistryReference = text.parse()?;
        if is_full(text) {
            return Err(NameError::Path(text.to_owned()));
        }
        let name = text.split_once('@').map_or(text, |(name, _)| name);
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        Ok(Self { name: name.to_owned(), on_hub })
    }
}

/// Tells whether a name begins with a domain.
pub(super) fn is_full(text: &str) -> bool {
    text.split_once('/').is_some_and(|(first, _)| looks_like_domain(first))
}

impl fmt::Display for ShortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = self.on_hub.tag() {
            write!(f, ":{tag}")?;
        }
        self.on_hub.digest().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}
