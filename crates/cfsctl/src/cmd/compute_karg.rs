//! `cfsctl compute-karg`

use std::{io::Write as _, path::PathBuf};

use clap::Args;
use composefs::{
    digest::VerityAlgorithm,
    erofs::{self, FormatVersion, WriteOptions},
    filetree::{FileTree, TransformOptions},
    progress::Silent,
    scan::{Objects, scan},
};
use rustix::fs::CWD;

use crate::{app::App, ui};

/// Print the kernel argument that names a directory's bootable image
#[derive(Debug, Args)]
pub(crate) struct ComputeKarg {
    /// The root of the tree
    path: PathBuf,
    /// Leave the tree as it is: no metadata of /usr on the root
    #[arg(long)]
    no_propagate_usr_to_root: bool,
}

/// Makes a tree ready to boot.
pub(crate) fn boot_transform(tree: &mut FileTree) -> anyhow::Result<()> {
    let _ = tree;
    anyhow::bail!("bootable images are not supported yet")
}

impl ComputeKarg {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let algorithm = app.algorithm_anyhow()?;
        let mut tree = scan(CWD, &self.path, Objects::Compute(algorithm), &Silent)?.tree;
        if !self.no_propagate_usr_to_root {
            tree.transform_for_oci(TransformOptions::default().strict(app.global.strict))?;
        }
        boot_transform(&mut tree)?;
        let version = app.version_alone();
        let id = erofs::compute_id(&tree, version, algorithm, &WriteOptions::default())?;
        let optional = if app.global.insecure { "?" } else { "" };
        let mut out = ui::out();
        match version {
            FormatVersion::V2 => writeln!(out, "composefs={optional}{id}")?,
            _ => writeln!(out, "composefs.digest={optional}v1-{}:{id}", VerityAlgorithm(algorithm).suffix())?,
        }
        Ok(())
    }
}
