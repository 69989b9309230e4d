//! The images that a config names, and the one in its seal, against what its layers give.

use std::collections::HashMap;

use composefs::{
    digest::{ObjectId, object_id_of},
    erofs::FormatVersion,
    filetree::{FileTree, XattrMode},
    progress::Cancel,
    repo::Repository,
};

use crate::{
    boot::boot_tree,
    digest::DiffId,
    error::Error,
    ident::{self, ImageKey},
    rootfs::{
        Rules,
        image::{RootfsOptions, image_id, tree},
    },
    seal::{LABEL, annotation::Role, digests::Tree},
    stored::{
        StoredImage,
        check::{Fault, Readable, Reason, named},
    },
};

/// The formats that a seal may be of, today's default first.
const SEALED: [FormatVersion; 3] = [FormatVersion::V1, FormatVersion::V2, FormatVersion::V0];

/// An image that is recorded, and under which key.
struct Recorded<'a> {
    key: &'a str,
    parsed: ImageKey,
    id: ObjectId,
}

/// Compares the seal in an image's manifest with config and layers.
pub(super) fn check_inline(repo: &Repository, image: &Readable, cancel: &Cancel) -> Vec<Fault> {
    let claims = match &image.inline {
        Ok(claims) => &claims.all,
        Err(detail) => return vec![Fault::SealUnusable(detail.clone())],
    };
    let mut faults = Vec::new();
    let mut tree: Option<(Role, Tree)> = None;
    for claim in claims {
        if cancel.is_cancelled() {
            return faults;
        }
        let role = claim.key.role;
        let format = claim.key.format.unwrap_or(FormatVersion::V1);
        let mut computed = || match role {
            Role::Merged | Role::Boot => {
                let (_, tree) = match &mut tree {
                    Some(made) if made.0 == role => made,
                    other => {
                        let stored = StoredImage::open(repo, &image.manifest)?;
                        other.insert((role, Tree::of(repo, &stored, role)?))
                    }
                };
                tree.id(repo, format, claim.key.algorithm)
            }
            _ => Ok(object_id_of(claim.key.algorithm, image.config.bytes())),
        };
        match computed() {
            Ok(actual) if actual == claim.digest => {}
            Ok(actual) => {
                faults.push(Fault::SealDigestMismatch { role, expected: claim.digest, actual });
            }
            // What cannot be built has findings of its own, about what is missing or damaged.
            Err(_) => {}
        }
    }
    faults
}

/// Computes the images of a config anew.
pub(super) fn check(repo: &Repository, image: &Readable, cancel: &Cancel) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut recorded = Vec::new();
    for (key, id) in &image.config_refs {
        // A mode that we don't know cannot be computed.
        let Some(parsed) = ident::parse_image_key(key) else { continue };
        match is_here(repo, id) {
            Ok(true) => recorded.push(Recorded { key, parsed, id: *id }),
            Ok(false) => faults.push(Fault::ImageMissing { key: key.clone(), id: *id }),
            Err(error) => {
                let reason = Reason::of(&error);
                faults.push(Fault::ImageCheckFailed { key: key.clone(), id: *id, reason });
            }
        }
    }
    let layers: Option<Vec<(DiffId, ObjectId)>> = image
        .config
        .diff_ids()
        .iter()
        .map(|diff_id| Some((diff_id.clone(), named(&image.config_refs, diff_id.as_str())?)))
        .collect();
    // Layers that are missing have findings of their own.
    let Some(layers) =
        layers.filter(|layers| layers.iter().all(|(_, id)| matches!(repo.has_object(id), Ok(true))))
    else {
        return faults;
    };
    let mut trees = Trees { repo, image, layers, current: None, computed: HashMap::new() };
    for one in recorded {
        if cancel.is_cancelled() {
            return faults;
        }
        let fault = match trees.fits(&one) {
            Ok(None) => continue,
            Ok(Some(actual)) => Fault::ImageIdMismatch { key: one.key.to_owned(), recorded: one.id, actual },
            // An object of a layer is missing or damaged, and has a finding of its own.
            Err(Error::Repository(error)) if error.object().is_some() => continue,
            Err(error) => {
                let reason = Reason::of(&error);
                Fault::ImageCheckFailed { key: one.key.to_owned(), id: one.id, reason }
            }
        };
        faults.push(fault);
    }
    if !cancel.is_cancelled() {
        faults.extend(check_seal(&mut trees));
    }
    faults
}

fn is_here(repo: &Repository, id: &ObjectId) -> Result<bool, composefs::error::Error> {
    Ok(repo.image_entry(id)?.is_some() && repo.has_object(id)?)
}

fn check_seal(trees: &mut Trees<'_>) -> Option<Fault> {
    let config = &trees.image.config;
    // One that is no id has a finding of its own; one of another hash cannot be computed here.
    let label = ObjectId::from_any_hex(config.label(LABEL)?).ok()?;
    if label.algorithm() != trees.repo.algorithm() {
        return None;
    }
    let key = ImageKey { bootable: false, xattrs: XattrMode::default(), versions: &SEALED };
    let actual = match trees.fits(&Recorded { key: LABEL, parsed: key, id: label }) {
        Ok(None) => return None,
        Ok(Some(actual)) => actual,
        Err(Error::Repository(error)) if error.object().is_some() => return None,
        Err(error) => {
            let reason = Reason::of(&error);
            return Some(Fault::ImageCheckFailed { key: LABEL.to_owned(), id: label, reason });
        }
    };
    // A seal over the boot variant, which was compared above.
    let of_boot = trees
        .image
        .config_refs
        .iter()
        .any(|(key, id)| *id == label && ident::parse_image_key(key).is_some_and(|key| key.bootable));
    (!of_boot).then(|| Fault::SealImageMismatch { config: config.digest().clone(), label, actual })
}

/// How a tree is made: boot variant, attributes, today's rules or those of 0.3.
type Recipe = (bool, XattrMode, bool);

/// The ids of an image's trees; one tree is in memory at a time.
struct Trees<'a> {
    repo: &'a Repository,
    image: &'a Readable,
    layers: Vec<(DiffId, ObjectId)>,
    current: Option<(Recipe, FileTree)>,
    computed: HashMap<(Recipe, FormatVersion), ObjectId>,
}

impl Trees<'_> {
    /// Tells whether the layers give the recorded image; if not, what they give.
    fn fits(&mut self, recorded: &Recorded<'_>) -> Result<Option<ObjectId>, Error> {
        let ImageKey { bootable, xattrs, versions } = recorded.parsed;
        let mut first = None;
        for &version in versions {
            let id = self.id((bootable, xattrs, false), version)?;
            if id == recorded.id {
                return Ok(None);
            }
            first.get_or_insert(id);
        }
        // Images were sealed by other rules in the times of 0.3. What those refuse was made by today's.
        let old = (bootable, xattrs, true);
        if !bootable && versions.iter().any(|&version| self.id(old, version).ok() == Some(recorded.id)) {
            return Ok(None);
        }
        Ok(first)
    }

    fn id(&mut self, recipe: Recipe, version: FormatVersion) -> Result<ObjectId, Error> {
        if let Some(id) = self.computed.get(&(recipe, version)) {
            return Ok(*id);
        }
        let tree = match self.current.take() {
            Some((is, tree)) if is == recipe => tree,
            _ => self.tree(recipe)?,
        };
        let id = image_id(&tree, version, self.repo.algorithm())?;
        self.current = Some((recipe, tree));
        self.computed.insert((recipe, version), id);
        Ok(id)
    }

    fn tree(&self, (bootable, xattrs, old): Recipe) -> Result<FileTree, Error> {
        let rules = if old { Rules::V03 } else { Rules::Current };
        let options = RootfsOptions::default().rules(rules).xattrs(xattrs);
        let config = self.image.config.digest();
        match bootable {
            true => boot_tree(self.repo, config, &self.layers, &options),
            false => tree(self.repo, config, &self.layers, &options),
        }
    }
}
