//! Which images an archive of `docker save` has.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::reference::{ArchiveSelect, RegistryReference};

/// The images of an archive, in its order.
#[derive(Debug)]
pub(super) struct Listing(Vec<Listed>);

/// One image.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// As `manifest.json` has it: members of the archive.
    Image { config: String, names: Vec<String>, layers: Vec<String> },
    /// As `repositories` has it: the directory of its topmost layer.
    Old { top: String, names: Vec<String> },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

impl Listing {
    /// Parses `manifest.json`.
    pub(super) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let items: Vec<Item> = serde_json::from_slice(bytes)?;
        let listed = |item: Item| Listed::Image {
            config: item.config,
            names: item.repo_tags.unwrap_or_default(),
            layers: item.layers.unwrap_or_default(),
        };
        Ok(Self(items.into_iter().map(listed).collect()))
    }

    /// Parses `repositories`, which is all that archives of Docker before 1.10 have.
    pub(super) fn parse_old(bytes: &[u8]) -> serde_json::Result<Self> {
        let repositories: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_slice(bytes)?;
        let mut listed: Vec<Listed> = Vec::new();
        let mut positions: BTreeMap<String, usize> = BTreeMap::new();
        for (repository, tags) in repositories {
            for (tag, id) in tags {
                let name = format!("{repository}:{tag}");
                let at = *positions.entry(id.clone()).or_insert(listed.len());
                match listed.get_mut(at) {
                    Some(Listed::Old { names, .. } | Listed::Image { names, .. }) => names.push(name),
                    None => listed.push(Listed::Old { top: id, names: vec![name] }),
                }
            }
        }
        Ok(Self(listed))
    }

    /// Finds the image that is meant, or says why there is none.
    pub(super) fn find(&self, select: &ArchiveSelect) -> Result<&Listed, String> {
        match (select, &self.0[..]) {
            (_, []) => Err("the archive has no images".to_owned()),
            (ArchiveSelect::Only, [one]) => Ok(one),
            (ArchiveSelect::Only, several) => {
                Err(format!("the archive has {} images; name one, or say :@0 for the first", several.len()))
            }
            (ArchiveSelect::Position(at), all) => {
                all.get(*at).ok_or_else(|| format!("no image at position {at}"))
            }
            (ArchiveSelect::Name(name), all) => all
                .iter()
                .find(|listed| listed.names().iter().any(|there| is_called(there, name)))
                .ok_or_else(|| format!("no image is called `{}:{}`", name.name(), name.wanted())),
        }
    }

    /// Returns the names of each image.
    pub(super) fn all_names(&self) -> Vec<Vec<String>> {
        self.0.iter().map(|listed| listed.names().to_vec()).collect()
    }

    /// Lists the images for an error: by name, or by position what has none.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |(at, listed): (usize, &Listed)| match listed.names() {
            [] => vec![format!("@{at}")],
            names => names.to_vec(),
        };
        self.0.iter().enumerate().flat_map(name).collect()
    }
}

impl Listed {
    fn names(&self) -> &[String] {
        match self {
            Self::Image { names, .. } | Self::Old { names, .. } => names,
        }
    }
}

/// Compares names written out: archives have short ones and long ones.
fn is_called(there: &str, name: &RegistryReference) -> bool {
    there
        .parse::<RegistryReference>()
        .is_ok_and(|there| there.name() == name.name() && there.wanted() == name.wanted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_by_name_and_position() {
        let listing = Listing::parse(
            br#"[{"Config":"a.json","RepoTags":["busybox:1","x.y/z:latest"],"Layers":["a/layer.tar"]},
                 {"Config":"b.json","RepoTags":null,"Layers":null}]"#,
        )
        .unwrap();
        let config = |select: ArchiveSelect| -> Result<String, String> {
            match listing.find(&select)? {
                Listed::Image { config, .. } => Ok(config.clone()),
                Listed::Old { .. } => panic!("no old one"),
            }
        };
        for name in ["busybox:1", "docker.io/library/busybox:1", "x.y/z"] {
            assert_eq!(config(ArchiveSelect::Name(name.parse().unwrap())).as_deref(), Ok("a.json"), "{name}");
        }
        assert_eq!(config(ArchiveSelect::Position(1)).as_deref(), Ok("b.json"));
        assert!(config(ArchiveSelect::Position(2)).is_err());
        assert!(config(ArchiveSelect::Name("busybox".parse().unwrap())).is_err());
        assert!(config(ArchiveSelect::Only).unwrap_err().contains("2 images"));
        assert_eq!(listing.names(), ["busybox:1", "x.y/z:latest", "@1"]);
    }

    #[test]
    fn old_lists() {
        let listing = Listing::parse_old(br#"{"a":{"1":"aa","2":"bb"},"b":{"1":"aa"}}"#).unwrap();
        let found = listing.find(&ArchiveSelect::Name("b:1".parse().unwrap())).unwrap();
        assert_eq!(*found, Listed::Old { top: "aa".into(), names: vec!["a:1".into(), "b:1".into()] });
        assert!(Listing::parse_old(b"[]").is_err());
        assert!(Listing::parse(b"{}").is_err());
        assert!(Listing::parse(b"[]").unwrap().find(&ArchiveSelect::Only).is_err());
    }
}
