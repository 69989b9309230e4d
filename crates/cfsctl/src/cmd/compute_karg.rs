//! `cfsctl compute-karg`

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use composefs::{
    digest::VerityAlgorithm,
    erofs::{self, FormatVersion, WriteOptions},
    filetree::{
        FileTree, Regular, TransformOptions,
        boot::{self, BootLimits},
    },
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

/// Makes a scanned tree ready to boot; the policy is read from the directory itself.
pub(crate) fn boot_transform(tree: &mut FileTree, root: &Path) -> anyhow::Result<()> {
    let mut read = |components: &[&[u8]], file: &Regular| {
        let mut path = root.to_owned();
        path.extend(components.iter().map(|part| OsStr::from_bytes(part)));
        let mut contents = Vec::new();
        // The path leads through no symlink: the tree knows what each component is.
        File::open(path)?.take(file.size().saturating_add(1)).read_to_end(&mut contents)?;
        if contents.len() as u64 != file.size() {
            return Err(io::Error::other("the file changed while it was read"));
        }
        Ok(contents)
    };
    boot::boot_transform(tree, &mut read, &BootLimits::default())
        .with_context(|| format!("tree {}", root.display()))
}

impl ComputeKarg {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let algorithm = app.algorithm_anyhow()?;
        let mut tree = scan(CWD, &self.path, Objects::Compute(algorithm), &Silent)?.tree;
        if !self.no_propagate_usr_to_root {
            tree.transform_for_oci(TransformOptions::default().strict(app.global.strict))?;
        }
        boot_transform(&mut tree, &self.path)?;
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
