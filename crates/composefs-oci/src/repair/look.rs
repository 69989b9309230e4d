//! What is known of the repository while a repair is planned: which objects are good, and where documents are.

use std::{
    cell::OnceCell,
    collections::{BTreeSet, HashMap},
};

use composefs::{
    digest::ObjectId,
    name::StreamName,
    repo::{
        Damage, Repository,
        check::{Fault, Finding, Subject},
    },
    splitstream::{ContentType, SplitStream},
};

use crate::{digest::Digest, error::Error, model::MANIFEST_MAX};

/// A repository as a check found it.
pub(super) struct Look<'a> {
    pub(super) repo: &'a Repository,
    pub(super) damage: Damage,
    /// Streams by name whose contents, though whole, are not what the name promises.
    wrong: BTreeSet<String>,
    documents: OnceCell<HashMap<Digest, ObjectId>>,
}

/// A stream's tables.
pub(super) struct Tables {
    pub(super) id: ObjectId,
    pub(super) stream: SplitStream<std::fs::File>,
}

impl Tables {
    pub(super) fn named(&self, key: &str) -> Option<ObjectId> {
        self.stream.named_ref(key)
    }

    pub(super) fn refs(&self) -> Vec<(String, ObjectId)> {
        self.stream.named_refs().map(|(name, id)| (name.to_owned(), id)).collect()
    }
}

impl<'a> Look<'a> {
    pub(super) fn new(repo: &'a Repository, damage: Damage, findings: &[Finding]) -> Self {
        let wrong = findings.iter().filter_map(|finding| match (&finding.fault, &finding.subject) {
            (Fault::StreamContents { .. }, Subject::Entry { name, .. }) => Some(name.as_str()),
            _ => None,
        });
        // With damaged objects a stream's contents differ, and it is as good as new when these are.
        let mut look = Self { repo, damage, wrong: BTreeSet::new(), documents: OnceCell::new() };
        look.wrong = wrong.filter(|name| !look.explains(name)).map(str::to_owned).collect();
        look
    }

    /// Takes what was had anew for right.
    pub(super) fn forget_wrong<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        for name in names {
            self.wrong.remove(name);
        }
    }

    /// Tells whether an entry leads to something that is no good anyhow.
    fn explains(&self, name: &str) -> bool {
        let entry = self.repo.entry(composefs::error::Category::Streams, name);
        let Ok(Some(id)) = entry else { return true };
        self.tables(&id, None).is_none_or(|tables| !self.has_all(&tables.stream))
    }

    /// Tells whether an object is here and good.
    pub(super) fn good(&self, id: &ObjectId) -> bool {
        self.damage.spares(id) && self.repo.has_object(id).unwrap_or(false)
    }

    /// Returns what an entry leads to; nothing if it leads nowhere.
    pub(super) fn entry(&self, name: &StreamName) -> Option<ObjectId> {
        self.repo.stream_entry(name).ok().flatten()
    }

    /// Reads a stream's tables, if it is good and of the type.
    pub(super) fn tables(&self, id: &ObjectId, kind: Option<ContentType>) -> Option<Tables> {
        if !self.good(id) {
            return None;
        }
        let stream = self.repo.open_stream(id).ok()?;
        kind.is_none_or(|kind| stream.content_type() == kind).then_some(Tables { id: *id, stream })
    }

    pub(super) fn has_all(&self, stream: &SplitStream<std::fs::File>) -> bool {
        stream.object_refs().iter().all(|object| self.good(&object))
    }

    /// Tells whether a stream is good with all its objects, and is what the name promises.
    pub(super) fn is_whole(&self, name: &StreamName, id: &ObjectId, kinds: &[ContentType]) -> bool {
        let wrong = self.wrong.contains(name.as_str()) && self.entry(name).as_ref() == Some(id);
        let fits = |tables: Tables| {
            let fits = kinds.is_empty() || kinds.contains(&tables.stream.content_type());
            fits && self.has_all(&tables.stream)
        };
        !wrong && self.tables(id, None).is_some_and(fits)
    }

    /// Returns the objects of a stream that are no good, with the stream itself if that is none.
    pub(super) fn bad_of(&self, id: &ObjectId) -> Vec<ObjectId> {
        match self.tables(id, None) {
            None => vec![*id],
            Some(tables) => tables.stream.object_refs().iter().filter(|object| !self.good(object)).collect(),
        }
    }

    /// Reads an object whose contents have a digest.
    pub(super) fn bytes_of(&self, id: &ObjectId, digest: &Digest) -> Option<Vec<u8>> {
        if !self.good(id) {
            return None;
        }
        let bytes = self.repo.read_object(id, MANIFEST_MAX).ok()?;
        (digest.of_same_algorithm(&bytes).as_ref() == Some(digest)).then_some(bytes)
    }

    /// Finds a document whose stream is lost, by its contents: all small objects that look like JSON are read once.
    pub(super) fn find(&self, digest: &Digest) -> Option<Vec<u8>> {
        let documents = self.documents.get_or_init(|| self.read_documents(digest).unwrap_or_default());
        documents.get(digest).and_then(|id| self.bytes_of(id, digest))
    }

    fn read_documents(&self, like: &Digest) -> Result<HashMap<Digest, ObjectId>, Error> {
        let mut small = Vec::new();
        self.repo.each_object(&mut |id, size| {
            if size <= MANIFEST_MAX {
                small.push(id);
            }
        })?;
        let mut documents = HashMap::new();
        for id in small {
            if !self.good(&id) || !self.repo.begins_with(&id, b"{")? {
                continue;
            }
            let Ok(bytes) = self.repo.read_object(&id, MANIFEST_MAX) else { continue };
            if let Some(digest) = like.of_same_algorithm(&bytes) {
                documents.insert(digest, id);
            }
        }
        Ok(documents)
    }
}
