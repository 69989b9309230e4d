//! Objects damaged on purpose, and mended.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use composefs::digest::ObjectId;

use crate::{
    listing::Listing,
    reach::{reach, roots},
    step::Damage,
    world::{Did, World},
};

impl World {
    /// Damages an object; returns it, for it is lost on purpose.
    pub(crate) fn damage(&mut self, object: u16, how: Damage, before: &Listing) -> Result<BTreeSet<String>> {
        // What a process knows about objects holds as long as nobody meddles with them.
        self.reopen();
        let Some(id) = before.objects.iter().nth(usize::from(object) % before.objects.len().max(1)) else {
            return Ok(BTreeSet::new());
        };
        let path = self.object_path(id);
        let mut bytes = std::fs::read(&path)?;
        let at = |n: u16| usize::from(n) % bytes.len().max(1);
        match how {
            Damage::Delete => {}
            Damage::Flip(n) if !bytes.is_empty() => {
                let at = at(n);
                bytes[at] ^= 1 << (n % 8);
            }
            Damage::Cut(n) => bytes.truncate(at(n)),
            Damage::Flip(_) => return Ok(BTreeSet::new()),
        }
        std::fs::remove_file(&path)?;
        if how != Damage::Delete {
            std::fs::write(&path, bytes)?;
        }
        self.damaged = true;
        Ok([id.clone()].into())
    }

    fn object_path(&self, id: &str) -> std::path::PathBuf {
        self.path.join("objects").join(&id[..2]).join(&id[2..])
    }

    /// Does what fsck advises: what is no good is removed, all images are pulled again, and the rest collected.
    pub(crate) fn mend(&mut self) -> Result<Did> {
        self.reopen();
        let repository = self.reader();
        for id in &Listing::read(&self.path).objects {
            let parsed = ObjectId::from_hex(self.kind.algorithm(), id.as_bytes())?;
            if repository.check_object(&parsed).is_err() {
                std::fs::remove_file(self.object_path(id))?;
            }
        }
        // What no pull brings back is lost with its damage.
        let listing = Listing::read(&self.path);
        let mut lost = Vec::new();
        for name in self.refs_of_no_pull() {
            let root = roots([(&name, &listing.refs[&name])]);
            let reach = reach(&repository, &listing, root.iter().map(String::as_str));
            if !reach.unreadable.is_empty() || !reach.objects.is_subset(&listing.objects) {
                lost.push(name);
            }
        }
        self.drop_names(&lost);
        drop(repository);
        for pull in self.pulls_again() {
            self.pull(&pull, true).with_context(|| format!("mending with {pull:?}"))?;
        }
        self.damaged = false;
        let before = Listing::read(&self.path);
        let did = self.collect(None, &before)?;
        ensure!(did.collected.is_some(), "not everything can be read after it was mended");
        Ok(did)
    }
}
