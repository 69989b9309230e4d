//! The full comparison: everything that has a name, byte by byte.

use anyhow::{Context as _, Result, ensure};
use composefs::{
    digest::ObjectId,
    progress::Silent,
    repo::{CheckOptions, Repository, check::Fault},
};
use composefs_oci::stored::{StoredImage, check, indexes::StoredIndex};
use composefs_testkit::images::sha256;

use crate::{
    family::{FAMILY, OF_INDEX},
    listing::Listing,
    step::Step,
    world::World,
};

impl World {
    /// Ends a list: mended and collected, all is compared; then all tags go, and nothing stays that they kept.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.damaged {
            self.apply(&Step::Mend).context("the last mending")?;
        }
        self.whole()?;
        self.apply(&Step::Collect).context("the last collection but one")?;
        self.whole()?;
        for tag in self.model.tags.keys().chain(&self.model.indexes).copied().collect::<Vec<_>>() {
            self.apply(&Step::Untag(tag)).context("the last tags")?;
        }
        for name in self.model.sealed.keys().copied().collect::<Vec<_>>() {
            self.apply(&Step::Unseal(name)).context("the last seals")?;
        }
        self.apply(&Step::Collect).context("the last collection")?;
        if self.model.referrers.is_empty() && self.model.mounts.is_empty() {
            let left = Listing::read(&self.path);
            ensure!(left == Listing::default(), "left without any name: {left:?}");
        }
        Ok(())
    }

    /// Compares all contents with the family's.
    pub(crate) fn whole(&self) -> Result<()> {
        let repository = self.reader();
        let report = repository.check(&CheckOptions::default().deep(true), &Silent)?;
        // A process that was killed may leave a record, and so does an earlier boot; the next collection takes them.
        let wrong: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| !matches!(finding.fault, Fault::LeftoverTemporary | Fault::StaleRecord))
            .collect();
        ensure!(wrong.is_empty(), "fsck: {wrong:?}");
        let report = check::check(&repository, None)?;
        ensure!(report.is_ok(), "oci fsck: {:?}", report.findings);
        for (tag, tagged) in &self.model.tags {
            let stored = StoredImage::open_tag(&repository, &tag.to_string())?;
            let manifest = repository.open_stream(stored.manifest_stream())?;
            for (key, bytes) in FAMILY.layers(tagged.image) {
                let id = if tagged.image.is_container() {
                    stored.config().named(key).copied()
                } else {
                    manifest.named_ref(key)
                };
                let id = id.with_context(|| format!("{tag} lacks {key}"))?;
                ensure!(replay(&repository, &id)? == *bytes, "{tag} has other bytes in {key}");
            }
        }
        for tag in &self.model.indexes {
            let index = StoredIndex::of_tag(&repository, &tag.to_string())?.context("the index is gone")?;
            ensure!(sha256(index.bytes()) == FAMILY.index, "the index of {tag} is another");
            for name in OF_INDEX {
                let found =
                    index.manifests().iter().find(|(digest, _)| digest.as_str() == FAMILY.manifest(name));
                let (_, stream) = found.with_context(|| format!("the index of {tag} lacks {name:?}"))?;
                let stream = repository.open_stream(stream)?;
                let object = stream.only_object()?;
                ensure!(sha256(&repository.read_object(&object, 1 << 20)?) == FAMILY.manifest(name));
                // Layers by diff_id when unpacked, by the blob's digest when not.
                let mut layers = 0;
                for (key, id) in stream.named_refs().filter(|(key, _)| !key.starts_with("config:")) {
                    ensure!(sha256(&replay(&repository, &id)?) == key, "{key} of {name:?}");
                    layers += 1;
                }
                ensure!(layers >= 2, "the layers of {name:?} are not with the index of {tag}");
            }
        }
        Ok(())
    }
}

fn replay(repository: &Repository, id: &ObjectId) -> Result<Vec<u8>> {
    let stream = repository.open_stream(id)?;
    let mut bytes = Vec::new();
    repository.replay_stream(id, &stream, &mut bytes)?;
    Ok(bytes)
}
