//! What there is to mend: everything that refs lead to, or what was named.

use std::collections::{BTreeMap, BTreeSet};

use composefs::{error::Category, name::decode_component, splitstream::ContentType};

use crate::{
    digest::{ConfigDigest, DiffId, Digest, ManifestDigest},
    error::Error,
    find::Name,
    ident,
    model::{descriptor_digest, parse_index},
    stored::origins,
};

use super::{donor::Donors, look::Look, unit::Subject};

/// What to look at, with the names that people have for it.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    pub(super) images: BTreeMap<Subject, Vec<String>>,
    /// Indexes, with what they name, as far as that is known.
    pub(super) indexes: BTreeMap<Digest, Index>,
}

/// An index that a ref leads to.
#[derive(Clone, Debug)]
pub(super) struct Index {
    pub(super) name: String,
    /// Its bytes; nothing if they are lost.
    pub(super) bytes: Option<Vec<u8>>,
    /// Where these come from.
    pub(super) donor: Option<usize>,
    /// The manifests in its order.
    pub(super) children: Vec<ManifestDigest>,
}

impl Subjects {
    pub(super) fn of(look: &Look<'_>, donors: &mut Donors<'_>, names: &[Name]) -> Result<Self, Error> {
        let mut subjects = Self::default();
        let refs = look.repo.refs(Category::Streams, "")?;
        let mut found = BTreeSet::new();
        for (path, target) in &refs {
            let (directory, rest) = path.split_once('/').unwrap_or(("", path));
            let shown = match directory {
                ident::TAGS | ident::INDEXES => decode_component(rest),
                _ => format!("refs/{path}"),
            };
            let wanted = names.is_empty()
                || names.iter().any(|name| match name {
                    Name::Text(text) => *text == shown,
                    Name::Digest(digest) => target.ends_with(digest.as_str()),
                });
            if !wanted {
                continue;
            }
            found.insert(shown.clone());
            if let Some(digest) = ident::parse_index(target) {
                subjects.add_index(look, donors, digest, shown)?;
            } else {
                subjects.add(target, Some(shown));
            }
        }
        for name in names {
            match name {
                Name::Text(text) if !found.contains(text) => return Err(Error::NotFound(text.clone())),
                Name::Text(_) => {}
                Name::Digest(digest) => {
                    let manifest = ManifestDigest::new(digest.clone());
                    let config = ConfigDigest::new(digest.clone());
                    let is_config =
                        look.repo.entry(Category::Streams, ident::config(&config)?.as_str())?.is_some();
                    let subject =
                        if is_config { Subject::Config(config) } else { Subject::Manifest(manifest) };
                    subjects.images.entry(subject).or_default();
                }
            }
        }
        Ok(subjects)
    }

    fn add(&mut self, entry: &str, name: Option<String>) {
        let subject = if let Some(digest) = ident::parse_manifest(entry) {
            Subject::Manifest(digest)
        } else if let Some(digest) = entry.strip_prefix("oci-config-").and_then(|text| text.parse().ok()) {
            Subject::Config(digest)
        } else if let Some(digest) =
            entry.strip_prefix("oci-layer-").and_then(|text| text.parse::<DiffId>().ok())
        {
            Subject::Layer(digest)
        } else {
            return;
        };
        self.images.entry(subject).or_default().extend(name);
    }

    fn add_index(
        &mut self,
        look: &Look<'_>,
        donors: &mut Donors<'_>,
        digest: Digest,
        name: String,
    ) -> Result<(), Error> {
        let entry = look.entry(&ident::index(&digest)?);
        let tables = entry.and_then(|id| look.tables(&id, Some(ContentType::OCI_INDEX)));
        let object = tables.as_ref().and_then(|tables| tables.stream.only_object().ok());
        let here = object.and_then(|id| look.bytes_of(&id, &digest)).or_else(|| look.find(&digest));
        let (bytes, donor) = match here {
            Some(bytes) => (Some(bytes), None),
            None => match donors.document(look.repo, Some(&digest), &digest) {
                Some((donor, bytes)) => (Some(bytes), Some(donor)),
                None => (None, None),
            },
        };
        let mut children = Vec::new();
        if let Some(index) = bytes.as_deref().and_then(|bytes| parse_index(bytes).ok()) {
            for child in index.manifests() {
                let Ok(digest) = descriptor_digest(child) else { continue };
                let child = ManifestDigest::new(digest.digest().clone());
                let known = tables
                    .as_ref()
                    .is_some_and(|tables| tables.named(&ident::manifest_key(&child)).is_some());
                let entry = ident::manifest(&child)?;
                // One that was never kept is none to mend.
                if known
                    || look.repo.entry(Category::Streams, entry.as_str()).is_ok_and(|id| id.is_some())
                    || tables.is_none()
                        && origins::of(look.repo, child.digest()).is_ok_and(|noted| !noted.is_empty())
                {
                    self.images.entry(Subject::Manifest(child.clone())).or_default();
                    children.push(child);
                }
            }
        }
        self.indexes.insert(digest, Index { name, bytes, donor, children });
        Ok(())
    }
}
