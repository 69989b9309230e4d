//! `cfsctl oci cat`

use std::{ffi::OsString, io::Write as _};

use anyhow::{Context as _, bail};
use clap::Args;
use composefs::{
    Error,
    filetree::{InodeKind, resolve::LastLink},
    image::copy_contents,
};

use crate::{app::App, cmd::oci::tree_args::TreeArgs, ui};

/// Write the contents of files in an image to stdout
///
/// Symlinks are followed within the image. Contents are checked against their digest while they are written.
///
/// Example: cfsctl oci cat web /etc/os-release
#[derive(Debug, Args)]
pub(crate) struct Cat {
    #[command(flatten)]
    args: TreeArgs,
    /// Paths in the image
    #[arg(required = true)]
    paths: Vec<OsString>,
}

impl Cat {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let tree = self.args.tree(app, &repo)?;
        let mut out = std::io::BufWriter::with_capacity(128 * 1024, ui::out());
        for path in &self.paths {
            let found = self.args.resolve(&tree, path, LastLink::Follow)?;
            let InodeKind::Regular(file) = &tree.inode(found.inode).kind else {
                bail!("{}: not a regular file", path.display());
            };
            let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(|source| Error::Output { source });
            copy_contents(&repo, file, &mut write).with_context(|| path.display().to_string())?;
        }
        out.flush()?;
        Ok(())
    }
}
