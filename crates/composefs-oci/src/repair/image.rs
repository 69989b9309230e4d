//! EROFS images built again from the layers: the same id, or none at all.

use composefs::{
    digest::ObjectId,
    erofs::{FormatVersion, WriteOptions, compute_id},
    filetree::{FileTree, XattrMode},
    repo::Writer,
};
use composefs_tar::Mode;

use crate::{
    boot::boot_tree,
    digest::{ConfigDigest, DiffId},
    error::Error,
    rootfs::{RootfsOptions, Rules, tree},
};

/// Layers to be merged, lowest first.
pub(super) struct Merge<'a> {
    pub(super) writer: &'a Writer,
    pub(super) config: &'a ConfigDigest,
    pub(super) layers: &'a [(DiffId, ObjectId)],
    pub(super) mode: Mode,
}

impl Merge<'_> {
    /// Builds the image of a key with an id, and stores it; tells whether that was possible.
    ///
    /// # Errors
    /// What merging and storing give.
    pub(super) fn image(&self, key: &str, wanted: &ObjectId) -> Result<bool, Error> {
        let versions: &[FormatVersion] = match key.contains(".v1") {
            true => &[FormatVersion::V1, FormatVersion::V0],
            false => &[FormatVersion::V2],
        };
        let boot = key.starts_with("composefs.image.boot");
        // Those of 0.3 are in sealed configs.
        let rules: &[Rules] = if boot { &[Rules::Current] } else { &[Rules::Current, Rules::V03] };
        for rules in rules {
            let tree = self.tree(key, boot, *rules)?;
            for version in versions {
                let id = compute_id(&tree, *version, self.writer.algorithm(), &WriteOptions::default());
                if id.map_err(Error::ImageWrite)? == *wanted {
                    composefs::image::store(self.writer, &tree, *version)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn tree(&self, key: &str, boot: bool, rules: Rules) -> Result<FileTree, Error> {
        let xattrs = match key.rsplit_once(".xattrs=") {
            Some((_, "keep-user-xattrs")) => XattrMode::KeepUserXattrs,
            Some((_, "keep-all")) => XattrMode::KeepAll,
            _ => XattrMode::default(),
        };
        let options = RootfsOptions::default().mode(self.mode).xattrs(xattrs).rules(rules);
        match boot {
            true => boot_tree(self.writer, self.config, self.layers, &options),
            false => tree(self.writer, self.config, self.layers, &options),
        }
    }
}
