//! The model: which names there are and what they stand for.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    family::{FAMILY, Kind, Name, OF_INDEX, facts},
    step::{Pull, Step},
};

/// How the names of records of mounts in an earlier boot begin.
pub(crate) const EARLIER_BOOT: &str = "/x-mounts/00000000-";

/// What a tag stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tagged {
    pub(crate) image: Name,
    /// Whether it has its EROFS images for certain.
    pub(crate) built: bool,
}

/// The names of a repository.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) tags: BTreeMap<char, Tagged>,
    /// The tags with which the index is kept.
    pub(crate) indexes: BTreeSet<char>,
    /// Names of sealed configs, and the images that were sealed.
    pub(crate) sealed: BTreeMap<char, Name>,
    /// Records of mounts by the names of their refs, and the image's id.
    pub(crate) mounts: BTreeMap<String, String>,
    /// Artifacts that were pulled and are about something: kept for as long as that is.
    pub(crate) referrers: BTreeSet<Name>,
}

pub(crate) fn tag_ref(tag: char) -> String {
    format!("streams/refs/oci/{tag}")
}

pub(crate) fn index_ref(tag: char) -> String {
    format!("streams/refs/x-oci-index/{tag}")
}

pub(crate) fn sealed_ref(name: char) -> String {
    format!("streams/refs/sealed/{name}")
}

pub(crate) fn referrer_ref(name: Name) -> String {
    format!("streams/refs/oci-referrers/{}/{}", FAMILY.manifest(Name::App), FAMILY.manifest(name))
}

pub(crate) fn manifest_entry(name: Name) -> String {
    format!("oci-manifest-{}", FAMILY.manifest(name))
}

pub(crate) fn index_entry() -> String {
    format!("oci-index-{}", FAMILY.index)
}

impl Model {
    /// The model after a step that succeeded.
    pub(crate) fn after(&self, step: &Step) -> Self {
        let mut new = self.clone();
        match step {
            Step::Pull(pull) => new.pulled(pull),
            Step::Tag { from, to } => {
                if let Some(tagged) = self.tags.get(from) {
                    new.tags.insert(*to, *tagged);
                    new.keep_index(*to, tagged.image);
                }
            }
            Step::Untag(tag) => {
                new.tags.remove(tag);
                new.indexes.remove(tag);
            }
            Step::Seal { tag, name: Some(name) } => {
                if let Some(tagged) = self.tags.get(tag).filter(|tagged| tagged.image.is_container()) {
                    new.sealed.insert(*name, tagged.image);
                }
            }
            Step::Unseal(name) => {
                new.sealed.remove(name);
            }
            Step::Collect => {
                new.mounts.retain(|record, _| !record.contains(EARLIER_BOOT));
                new.referrers.retain(|name| self.keeps(*name));
            }
            _ => {}
        }
        new
    }

    /// Whether a tag keeps an artifact about something: its own, or its subject's.
    pub(crate) fn keeps(&self, referrer: Name) -> bool {
        self.tags.values().any(|tagged| [referrer, Name::App].contains(&tagged.image))
    }

    fn pulled(&mut self, asked: &Pull) {
        let image = asked.of.image();
        if image == Name::Signature {
            self.referrers.insert(image);
        }
        let Some(tag) = asked.tag else { return };
        let same = self.tags.get(&tag).is_some_and(|old| old.image == image && old.built);
        self.tags.insert(tag, Tagged { image, built: !asked.skip || same });
        if asked.keeps_index() {
            self.indexes.insert(tag);
        } else {
            self.keep_index(tag, image);
        }
    }

    /// The index stays with a tag that moves within it.
    fn keep_index(&mut self, tag: char, image: Name) {
        if !OF_INDEX.contains(&image) {
            self.indexes.remove(&tag);
        }
    }

    /// Takes names from `new` or leaves them as they are, as `is_new` says of their refs.
    pub(crate) fn mixed(&self, new: &Self, is_new: impl Fn(String) -> bool) -> Self {
        fn map<K: Ord + Clone, V: Clone>(
            old: &BTreeMap<K, V>,
            new: &BTreeMap<K, V>,
            is_new: impl Fn(&K) -> bool,
        ) -> BTreeMap<K, V> {
            let keys: BTreeSet<&K> = old.keys().chain(new.keys()).collect();
            let of = |key: &K| if is_new(key) { new.get(key) } else { old.get(key) };
            keys.into_iter().filter_map(|key| Some((key.clone(), of(key)?.clone()))).collect()
        }
        fn set<K: Ord + Copy>(
            old: &BTreeSet<K>,
            new: &BTreeSet<K>,
            is_new: impl Fn(K) -> bool,
        ) -> BTreeSet<K> {
            old.union(new)
                .copied()
                .filter(|key| if is_new(*key) { new.contains(key) } else { old.contains(key) })
                .collect()
        }
        Self {
            tags: map(&self.tags, &new.tags, |tag| is_new(tag_ref(*tag))),
            indexes: set(&self.indexes, &new.indexes, |tag| is_new(index_ref(tag))),
            sealed: map(&self.sealed, &new.sealed, |name| is_new(sealed_ref(*name))),
            mounts: map(&self.mounts, &new.mounts, |record| is_new(record.clone())),
            referrers: set(&self.referrers, &new.referrers, |name| is_new(referrer_ref(name))),
        }
    }

    /// The refs there must be, and where each leads.
    pub(crate) fn refs(&self, kind: Kind) -> BTreeMap<String, String> {
        let mut refs = BTreeMap::new();
        for (tag, tagged) in &self.tags {
            refs.insert(tag_ref(*tag), manifest_entry(tagged.image));
        }
        for tag in &self.indexes {
            refs.insert(index_ref(*tag), index_entry());
        }
        for (name, image) in &self.sealed {
            let (config, _) = facts(kind, *image).sealed.unwrap();
            refs.insert(sealed_ref(*name), format!("oci-config-{config}"));
        }
        for (record, image) in &self.mounts {
            refs.insert(record.clone(), image.clone());
        }
        for name in &self.referrers {
            refs.insert(referrer_ref(*name), manifest_entry(*name));
        }
        refs
    }
}
