//! Options of the verbs that make trees from directories.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use composefs::filetree::{TransformOptions, XattrMode};

/// What is read, and what becomes of it.
#[derive(Debug, Args)]
pub(crate) struct FsOptions {
    /// The root of the tree; with --dumpfile a dumpfile
    pub(crate) path: PathBuf,
    /// Make the tree ready to boot: SELinux labels, /boot and /sysroot emptied
    #[arg(long)]
    pub(crate) bootable: bool,
    /// Leave the tree as it is: no metadata of /usr on the root, /run kept, all extended attributes
    #[arg(long)]
    pub(crate) no_propagate_usr_to_root: bool,
    /// The same under its name of 0.3
    #[arg(long, hide = true)]
    pub(crate) stat_root: bool,
    /// Which extended attributes stay
    #[arg(long, value_name = "MODE", default_value = "allowlist-only")]
    pub(crate) xattrs: Xattrs,
    /// Take PATH for a dumpfile (- is stdin), and the tree in it as it is
    #[arg(long, conflicts_with_all = ["bootable", "no_propagate_usr_to_root", "stat_root"])]
    pub(crate) dumpfile: bool,
}

/// Which extended attributes stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Xattrs {
    /// security.capability only
    AllowlistOnly,
    /// security.capability and user.*
    KeepUserXattrs,
}

impl From<Xattrs> for XattrMode {
    fn from(xattrs: Xattrs) -> Self {
        match xattrs {
            Xattrs::AllowlistOnly => Self::AllowlistOnly,
            Xattrs::KeepUserXattrs => Self::KeepUserXattrs,
        }
    }
}

impl FsOptions {
    /// The transform, if there is one.
    pub(crate) fn transform(&self, strict: bool) -> Option<TransformOptions> {
        let as_it_is = self.no_propagate_usr_to_root || self.stat_root || self.dumpfile;
        (!as_it_is).then(|| TransformOptions::default().xattrs(self.xattrs.into()).strict(strict))
    }
}
