//! The digests that a seal has, computed from what is in the repository.
//!
//! Those of the repository's own algorithm come from its objects' names. For the other algorithm every file of the image
//! is read and hashed anew, which takes as long as reading the image does.
//!
//! # Format
//! `docs/formats/sealing.md`, sections 2 and 6.

use std::collections::BTreeMap;

use composefs::{
    digest::{Algorithm, ObjectId, VerityHasher, object_id_of},
    erofs::FormatVersion,
    filetree::{FileTree, InodeKind, Regular},
    repo::Repository,
};

use super::{
    annotation::{Key, Role},
    claim::Claim,
};
use crate::{
    boot,
    error::Error,
    ident,
    rootfs::{
        RootfsOptions,
        image::{image_id, tree},
    },
    stored::StoredImage,
};

/// Whether the variant that boots is sealed, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Boot {
    /// If the image has one.
    #[default]
    IfThere,
    /// Whether it has one or not.
    Always,
}

/// The files of an image as they are mounted: its tree.
pub struct Tree {
    tree: FileTree,
    own: Algorithm,
    /// The same files with their digests by the other algorithm; made when first asked for.
    other: Option<FileTree>,
}

impl Tree {
    /// Builds the tree of the root file system, or of the variant that boots.
    ///
    /// # Errors
    /// [`Error::NotAContainer`]; what merging, and making it boot, give.
    pub fn of(repo: &Repository, image: &StoredImage, role: Role) -> Result<Self, Error> {
        if !image.is_container() {
            return Err(Error::NotAContainer(image.manifest().digest().to_string()));
        }
        let layers = image.config().layers()?;
        let make = if role == Role::Boot { boot::boot_tree } else { tree };
        let tree = make(repo, image.config().digest(), &layers, &RootfsOptions::default())?;
        Ok(Self { tree, own: repo.algorithm(), other: None })
    }

    /// Computes the id of its image by an algorithm.
    ///
    /// # Errors
    /// What reading gives where it is not the repository's algorithm; [`Error::ImageWrite`].
    pub fn id(
        &mut self,
        repo: &Repository,
        format: FormatVersion,
        algorithm: Algorithm,
    ) -> Result<ObjectId, Error> {
        if algorithm == self.own {
            return image_id(&self.tree, format, algorithm);
        }
        let other = match &mut self.other {
            Some(other) => other,
            none => none.insert(hashed_anew(repo, &self.tree, algorithm)?),
        };
        image_id(other, format, algorithm)
    }

    /// Returns the objects that hold its files, each once.
    #[must_use]
    pub fn objects(&self) -> Vec<ObjectId> {
        let mut ids: Vec<ObjectId> = externals(&self.tree).into_iter().map(|(_, id)| id).collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

/// The inodes with an object.
fn externals(tree: &FileTree) -> Vec<(composefs::filetree::InodeId, ObjectId)> {
    let object = |inode| match &tree.inode(inode).kind {
        InodeKind::Regular(regular) => regular.object().map(|id| (inode, *id)),
        _ => None,
    };
    tree.depth_first().filter_map(|step| object(step.inode)).collect()
}

/// Copies a tree, with every file's digest by another algorithm.
fn hashed_anew(repo: &Repository, tree: &FileTree, algorithm: Algorithm) -> Result<FileTree, Error> {
    let mut copy = tree.clone();
    let mut known: BTreeMap<ObjectId, ObjectId> = BTreeMap::new();
    for (inode, old) in externals(tree) {
        let new = match known.get(&old) {
            Some(new) => *new,
            None => {
                let mut hasher = VerityHasher::new(algorithm);
                repo.copy_object::<composefs::Error>(&old, |bytes| {
                    hasher.update(bytes);
                    Ok(())
                })?;
                *known.entry(old).or_insert(hasher.finish())
            }
        };
        if let InodeKind::Regular(Regular::External { id, .. }) = &mut copy.inode_mut(inode).kind {
            *id = new;
        }
    }
    Ok(copy)
}

/// Tells whether an image has a variant that boots, of the format that is sealed.
#[must_use]
pub fn has_boot(image: &StoredImage) -> bool {
    image.config().named(ident::boot_image_key(FormatVersion::V1)).is_some()
        || image.config().named(ident::boot_image_key(FormatVersion::V2)).is_some()
}

/// Computes all digests of an image that a seal has, in the order in which an artifact has them, unsigned.
///
/// # Errors
/// [`Error::NotAContainer`]; what building the trees gives.
pub fn digests(
    repo: &Repository,
    image: &StoredImage,
    algorithm: Algorithm,
    boot: Boot,
) -> Result<Vec<Claim>, Error> {
    let claim = |role, digest| Claim { key: Key::new(role, algorithm), digest, signature: None };
    let merged = Tree::of(repo, image, Role::Merged)?.id(repo, FormatVersion::V1, algorithm)?;
    let mut all = vec![
        claim(Role::Manifest, object_id_of(algorithm, image.manifest().bytes())),
        claim(Role::Config, object_id_of(algorithm, image.config().bytes())),
        claim(Role::Merged, merged),
    ];
    if boot == Boot::Always || has_boot(image) {
        let boots = Tree::of(repo, image, Role::Boot)?.id(repo, FormatVersion::V1, algorithm)?;
        all.push(claim(Role::Boot, boots));
    }
    Ok(all)
}
