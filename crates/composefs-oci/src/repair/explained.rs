//! What images are made of: the ids and names that a finding may be about.

use std::collections::BTreeSet;

use composefs::{
    digest::ObjectId,
    repo::check::{Finding, Subject},
};

use crate::{error::Error, ident};

use super::{
    look::Look,
    unit::{self, Unit},
};

/// What is taken care of, or known to be lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Explained {
    pub(super) ids: BTreeSet<ObjectId>,
    pub(super) paths: BTreeSet<String>,
    pub(super) tags: BTreeSet<String>,
}

/// Returns the ids and names that an image is made of.
pub(super) fn explain(look: &Look<'_>, unit: &Unit) -> Result<Explained, Error> {
    let mut explained = Explained::default();
    explained.tags.extend(unit.names.iter().cloned());
    let mut stream = |name: composefs::name::StreamName| {
        let entry = look.entry(&name);
        explained.ids.extend(entry);
        if let Some(tables) = entry.and_then(|id| look.tables(&id, None)) {
            explained.ids.extend(tables.stream.object_refs().iter());
            explained.ids.extend(tables.refs().into_iter().map(|(_, id)| id));
        }
        explained.paths.insert(format!("streams/{name}"));
    };
    if let unit::Subject::Manifest(digest) = &unit.subject {
        stream(ident::manifest(digest)?);
    }
    if let Some(digest) = &unit.config_digest {
        stream(ident::config(digest)?);
        stream(ident::blob(&crate::digest::BlobDigest::new(digest.digest().clone()))?);
    }
    for layer in &unit.layers {
        stream(layer.name.clone());
    }
    for layer in &unit.layers {
        explained.ids.extend(&layer.bad);
    }
    for tables in [&unit.manifest_tables, &unit.config_tables].into_iter().flatten() {
        explained.ids.insert(tables.id);
        explained.ids.extend(tables.stream.object_refs().iter());
        explained.ids.extend(tables.refs().into_iter().map(|(_, id)| id));
    }
    for image in &unit.images {
        explained.ids.insert(image.id);
        explained.paths.insert(format!("images/{}", image.id));
    }
    Ok(explained)
}

impl Explained {
    pub(super) fn add(&mut self, other: Self) {
        self.ids.extend(other.ids);
        self.paths.extend(other.paths);
        self.tags.extend(other.tags);
    }

    /// Tells whether a finding is about something in here.
    pub(super) fn covers(&self, finding: &Finding) -> bool {
        match &finding.subject {
            Subject::Object(id) => return self.ids.contains(id),
            Subject::Entry { .. } if self.paths.contains(&finding.subject.to_string()) => return true,
            Subject::Ref { category, entry: Some(entry), .. } => {
                return self.paths.contains(&format!("{}/{entry}", category.directory()));
            }
            _ => {}
        }
        finding.fault.object().is_some_and(|id| self.ids.contains(id))
    }
}
