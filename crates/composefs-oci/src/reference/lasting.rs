//! References that mean the same later and elsewhere: absolute, and of one manifest.

use std::path::{Path, PathBuf};

use crate::digest::ManifestDigest;

use super::{InLayout, Reference, Select};

impl Reference {
    /// Returns the reference as it can be noted for later: with paths taken from `base`, an absolute one, if they are
    /// relative. `None` for what text cannot hold, and for references that are skopeo's alone: nobody knows what is in
    /// those.
    #[must_use]
    pub fn lasting(&self, base: &Path) -> Option<Self> {
        let absolute = |path: &PathBuf| base.join(path);
        let lasting = match self {
            Self::Layout(at) => Self::Layout(InLayout { path: absolute(&at.path), ..at.clone() }),
            Self::OciArchive(at) => Self::OciArchive(InLayout { path: absolute(&at.path), ..at.clone() }),
            Self::Dir(path) => Self::Dir(absolute(path)),
            Self::DockerArchive(at) => {
                let mut at = at.clone();
                at.path = absolute(&at.path);
                Self::DockerArchive(at)
            }
            Self::Proxy(_) => return None,
            other => other.clone(),
        };
        let text = lasting.to_string();
        let is_registry = matches!(lasting, Self::Registry(_));
        // A registry's name is told apart by how it was written, too, which changes nothing about what it means.
        let same = |parsed: Self| parsed == lasting || (is_registry && parsed.to_string() == text);
        let stays = text.parse().is_ok_and(same);
        (stays && !text.contains(char::is_control)).then_some(lasting)
    }

    /// Returns the reference to the manifest of a digest in the same place; `None` where images have no digests.
    #[must_use]
    pub fn at(&self, digest: &ManifestDigest) -> Option<Self> {
        let select = || Select::Digest(digest.clone());
        Some(match self {
            Self::Layout(at) => Self::Layout(InLayout { path: at.path.clone(), select: select() }),
            Self::OciArchive(at) => Self::OciArchive(InLayout { path: at.path.clone(), select: select() }),
            Self::Registry(name) => Self::Registry(name.at(digest)),
            Self::ShortName(name) => Self::ShortName(name.at(digest)),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_means_the_same_later() {
        let lasting = |text: &str| {
            text.parse::<Reference>()
                .unwrap()
                .lasting(Path::new("/base"))
                .map(|reference| reference.to_string())
        };
        for (text, expected) in [
            ("oci:./app:v1", "oci:/base/./app:v1"),
            ("oci-archive:app.tar", "oci-archive:/base/app.tar"),
            ("dir:/x", "dir:/x"),
            ("docker-archive:x.tar:a:b", "docker-archive:/base/x.tar:docker.io/library/a:b"),
            #[cfg(feature = "registry")]
            ("docker://debian", "docker://docker.io/library/debian:latest"),
            ("debian:12", "debian:12"),
        ] {
            assert_eq!(lasting(text).as_deref(), Some(expected));
        }
        assert_eq!(lasting("oci:a\nb"), None);
        assert_eq!(Reference::Proxy("x:y".to_owned()).lasting(Path::new("/")), None);
    }

    #[test]
    fn one_manifest_of_a_place() {
        let digest: ManifestDigest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        let at = |text: &str| text.parse::<Reference>().unwrap().at(&digest).map(|at| at.to_string());
        for (text, expected) in [
            ("oci:/a:v1", "oci:/a@D"),
            ("docker://x.y/z:1", "docker://x.y/z:1@D"),
            ("debian:12", "debian:12@D"),
            ("oci-archive:/a", "oci-archive:/a@D"),
        ] {
            assert_eq!(at(text), Some(expected.replace('D', digest.as_str())));
        }
        assert_eq!(at("dir:/x"), None);
    }
}
