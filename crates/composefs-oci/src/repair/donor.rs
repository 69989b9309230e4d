//! Where what is missing may come from: the reference that was said, those that pulls have noted, another repository.

use std::collections::HashMap;

use composefs::{
    error::chain,
    repo::{Repository, Session},
};
use oci_spec::image::Descriptor;

use crate::{
    digest::{Digest, ManifestDigest},
    error::Error,
    model::{
        CONFIG_MAX, Config, MANIFEST_MAX, Manifest, descriptor_digest, media_type, parse_index,
        platform::Platform,
    },
    reference::Reference,
    stored::origins,
    transport::{Root, Source},
};

use crate::pull::asked::Asked;

use super::other::Other;

/// Opens the medium of a reference.
pub type Open<'a> = dyn Fn(&Reference) -> Result<Box<dyn Source>, Error> + 'a;

/// What a repair may take from.
pub struct Sources<'a> {
    pub(super) open: &'a Open<'a>,
    pub(super) from: Option<Reference>,
    pub(super) repository: Option<Repository>,
    pub(super) noted: bool,
}

impl std::fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources")
            .field("from", &self.from)
            .field("noted", &self.noted)
            .finish_non_exhaustive()
    }
}

impl<'a> Sources<'a> {
    /// Takes what pulls have noted; `open` opens a medium when it is needed.
    #[must_use]
    pub const fn new(open: &'a Open<'a>) -> Self {
        Self { open, from: None, repository: None, noted: true }
    }

    /// Takes from this reference before all others, for every image.
    #[must_use]
    pub fn from(mut self, reference: Option<Reference>) -> Self {
        self.from = reference;
        self
    }

    /// Takes from another repository, too; its algorithm and formats do not matter.
    #[must_use]
    pub fn repository(mut self, repository: Option<Repository>) -> Self {
        self.repository = repository;
        self
    }

    /// Sets whether the references that pulls have noted are used.
    #[must_use]
    pub const fn noted(mut self, noted: bool) -> Self {
        self.noted = noted;
        self
    }
}

/// One place that something may come from.
pub(super) struct Donor {
    name: String,
    source: Box<dyn Source>,
    /// Another repository is asked by digest.
    other: Option<Other>,
    root: Option<Root>,
    documents: HashMap<Digest, Vec<u8>>,
    /// Blobs by their own digest, and those of tars by their diff_id.
    blobs: HashMap<Digest, Descriptor>,
}

impl Donor {
    fn repository(repo: Repository) -> Self {
        let other = Other::new(repo);
        Self {
            name: other.describe(),
            source: Box::new(other.clone()),
            other: Some(other),
            root: None,
            documents: HashMap::new(),
            blobs: HashMap::new(),
        }
    }

    /// Opens a reference and learns what is there.
    fn open(
        reference: &Reference,
        open: &Open<'_>,
        platform: &Platform,
        session: &Session,
    ) -> Result<Self, Error> {
        let source = open(reference)?;
        let asked = Asked { source: source.as_ref(), session: Some(session) };
        let (root, chosen) = (asked.root().ok(), asked.manifest(platform)?);
        let mut donor = Self {
            name: reference.to_string(),
            other: None,
            root,
            source,
            documents: HashMap::new(),
            blobs: HashMap::new(),
        };
        donor.learn(chosen.bytes, &ManifestDigest::new(chosen.digest), session)?;
        Ok(donor)
    }

    fn learn(&mut self, bytes: Vec<u8>, digest: &ManifestDigest, session: &Session) -> Result<(), Error> {
        let asked = Asked { source: self.source.as_ref(), session: Some(session) };
        let model = |source| Error::model(digest, source);
        let manifest = Manifest::parse_as(bytes, digest.clone()).map_err(model)?;
        let config_digest = manifest.config_digest().map_err(|source| model(source.into()))?;
        let config = asked.document(manifest.parsed().config(), CONFIG_MAX)?;
        let mut keys = Vec::new();
        if manifest.is_container() {
            let parsed = Config::parse_as(config.clone(), config_digest.clone())
                .map_err(|source| Error::model(&config_digest, source))?;
            if parsed.diff_ids().len() == manifest.layers().len() {
                keys = parsed.diff_ids().to_vec();
            }
        }
        let blob = config_digest.digest().clone();
        self.blobs.insert(blob.clone(), manifest.parsed().config().clone());
        self.documents.insert(blob, config);
        for (at, descriptor) in manifest.layers().iter().enumerate() {
            if let Ok(blob) = descriptor_digest(descriptor) {
                self.blobs.insert(blob.digest().clone(), descriptor.clone());
            }
            if let Some(diff_id) = keys.get(at) {
                let kept = self.source.kept_as(descriptor)?;
                self.blobs.insert(diff_id.digest().clone(), kept.unwrap_or_else(|| descriptor.clone()));
            }
        }
        self.documents.insert(digest.digest().clone(), manifest.bytes().to_vec());
        Ok(())
    }

    /// Returns a document by its digest; without a session only what is known.
    fn document(&mut self, digest: &Digest, session: Option<&Session>) -> Option<Vec<u8>> {
        if let Some(known) = self.documents.get(digest) {
            return Some(known.clone());
        }
        if let Some(other) = &self.other {
            return other.document(digest);
        }
        let root = self.root.as_ref()?;
        if root.digest == *digest {
            return digest
                .of_same_algorithm(&root.bytes)
                .filter(|actual| actual == digest)
                .map(|_| root.bytes.clone());
        }
        if !media_type::is_index(&root.media_type) {
            return None;
        }
        let index = parse_index(&root.bytes).ok()?;
        let child = index.manifests().iter().find(|child| child.digest().as_ref() == digest.as_str())?;
        let session = session?;
        let asked = Asked { source: self.source.as_ref(), session: Some(session) };
        let bytes = asked.document(child, MANIFEST_MAX).ok()?;
        // Its layers are here, too.
        self.learn(bytes.clone(), &ManifestDigest::new(digest.clone()), session).ok()?;
        Some(bytes)
    }

    /// Returns the descriptor of a blob by its digest, or of a layer's by its diff_id.
    fn blob(&self, digest: &Digest) -> Option<Descriptor> {
        match &self.other {
            Some(other) => other.offer(digest),
            None => self.blobs.get(digest).cloned(),
        }
    }
}

/// The donors that were opened, and why others were not. What is not needed is not opened.
pub(super) struct Donors<'a> {
    sources: &'a Sources<'a>,
    platform: Platform,
    opened: Vec<(String, Option<Donor>)>,
    /// All images of which it is noted where they came from, once somebody has asked.
    others: Option<Vec<Digest>>,
    /// Gives up the lock while somebody is asked who may take long. Once it is gone, nobody is asked.
    session: Option<Session>,
    /// What came of opening them, for messages.
    pub(super) failures: Vec<String>,
}

/// A blob that a donor has.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    /// Which donor.
    pub(super) donor: usize,
    pub(super) descriptor: Descriptor,
}

impl<'a> Donors<'a> {
    pub(super) const fn new(sources: &'a Sources<'a>, platform: Platform, session: Session) -> Self {
        let session = Some(session);
        Self { sources, platform, opened: Vec::new(), others: None, session, failures: Vec::new() }
    }

    /// From now on tells only what is known.
    pub(super) fn ask_no_more(&mut self) {
        self.session = None;
    }

    pub(super) fn name(&self, donor: usize) -> &str {
        self.opened.get(donor).map_or("", |(name, _)| name)
    }

    pub(super) fn source(&self, donor: usize) -> Option<&dyn Source> {
        self.opened.get(donor)?.1.as_ref().map(|donor| donor.source.as_ref())
    }

    /// Tells whether there is any place to look for an image in.
    pub(super) fn are_there_for(&self, repo: &Repository, image: Option<&Digest>) -> bool {
        let any = |image| origins::of(repo, image).is_ok_and(|noted| !noted.is_empty());
        let noted = || self.sources.noted && image.is_some_and(any);
        self.sources.from.is_some() || self.sources.repository.is_some() || noted()
    }

    /// Asks one donor after the other: the repository, the reference that was said, those that were noted; of each the
    /// manifest of the image's digest before what is under its name today.
    fn ask<T>(
        &mut self,
        repo: &Repository,
        image: Option<&Digest>,
        mut want: impl FnMut(usize, &mut Donor, Option<&Session>) -> Option<T>,
    ) -> Option<T> {
        if let Some(other) = self.sources.repository.clone()
            && let Some(at) = self.donor(" repository", move |_| Ok(Donor::repository(other)))
            && let Some(found) = self.try_one(at, &mut want)
        {
            return Some(found);
        }
        let mut references: Vec<Reference> = self.sources.from.iter().cloned().collect();
        if let Some(image) = image.filter(|_| self.sources.noted) {
            match origins::of(repo, image) {
                Ok(noted) => references.extend(noted),
                Err(error) => self.failed(chain(&error)),
            }
        }
        for reference in references {
            let exact = image.and_then(|image| reference.at(&ManifestDigest::new(image.clone())));
            for reference in exact.iter().chain([&reference]) {
                let (open, platform) = (self.sources.open, self.platform.clone());
                let opened = self.donor(&reference.to_string(), |session| {
                    Donor::open(reference, open, &platform, session)
                });
                if let Some(at) = opened
                    && let Some(found) = self.try_one(at, &mut want)
                {
                    return Some(found);
                }
            }
        }
        None
    }

    fn try_one<T>(
        &mut self,
        at: usize,
        want: &mut impl FnMut(usize, &mut Donor, Option<&Session>) -> Option<T>,
    ) -> Option<T> {
        let donor = self.opened.get_mut(at)?.1.as_mut()?;
        want(at, donor, self.session.as_ref())
    }

    fn donor(&mut self, name: &str, open: impl FnOnce(&Session) -> Result<Donor, Error>) -> Option<usize> {
        if let Some(at) = self.opened.iter().position(|(known, _)| known == name) {
            return Some(at);
        }
        let donor = match open(self.session.as_ref()?) {
            Ok(donor) => Some(donor),
            Err(error) => {
                self.failed(format!("{name}: {}", chain(&error)));
                None
            }
        };
        let shown = donor.as_ref().map_or(name, |donor| donor.name.as_str()).to_owned();
        self.opened.push((name.to_owned(), donor));
        tracing::debug!(donor = %shown, "looked at");
        Some(self.opened.len() - 1)
    }

    fn failed(&mut self, text: String) {
        if !self.failures.contains(&text) {
            self.failures.push(text);
        }
    }

    /// Looks for a document by its digest.
    pub(super) fn document(
        &mut self,
        repo: &Repository,
        image: Option<&Digest>,
        digest: &Digest,
    ) -> Option<(usize, Vec<u8>)> {
        self.ask(repo, image, |at, donor, session| {
            let bytes = donor.document(digest, session)?;
            (digest.of_same_algorithm(&bytes).as_ref() == Some(digest)).then_some((at, bytes))
        })
    }

    /// Looks for a blob by its digest, or for a layer's by its diff_id; last where other images were pulled from, which may
    /// have the layer as well.
    pub(super) fn blob(
        &mut self,
        repo: &Repository,
        image: Option<&Digest>,
        digest: &Digest,
    ) -> Option<Offer> {
        let offer = |donor, has: &mut Donor, _: Option<&Session>| {
            let descriptor = has.blob(digest)?;
            Some(Offer { donor, descriptor })
        };
        if let Some(found) = self.ask(repo, image, offer) {
            return Some(found);
        }
        if !self.sources.noted {
            return None;
        }
        let opened =
            |(at, (_, donor)): (usize, &mut (String, Option<Donor>))| offer(at, donor.as_mut()?, None);
        if let Some(found) = self.opened.iter_mut().enumerate().find_map(opened) {
            return Some(found);
        }
        let others = self.others.get_or_insert_with(|| origins::all(repo)).clone();
        others.iter().find_map(|other| self.ask(repo, Some(other), offer))
    }
}
