//! `mkcomposefs`: the C builder's command line.

use std::{
    collections::HashSet,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use clap::Parser;
use composefs::{
    digest::{Algorithm, VerityHasher},
    dumpfile,
    erofs::{self, FormatVersion, WriteOptions},
    filetree::{FileTree, InodeId, InodeKind, Name},
    progress::Silent,
    scan::{Objects, scan},
};
use rustix::fs::CWD;

use crate::{
    input,
    ui::{self, error::Usage},
};

/// Create a composefs image from a directory or dumpfile
#[derive(Debug, Parser)]
#[command(name = "mkcomposefs", version)]
pub(crate) struct Mkcomposefs {
    /// The directory; with --from-file a dumpfile, - for stdin
    source: PathBuf,
    /// Where the image goes, - for stdout
    image: Option<PathBuf>,
    /// Take SOURCE for a dumpfile
    #[arg(long)]
    from_file: bool,
    /// Print the image's fs-verity digest after writing it
    #[arg(long, conflicts_with = "print_digest_only")]
    print_digest: bool,
    /// Print the image's fs-verity digest and write nothing
    #[arg(long, conflicts_with = "image")]
    print_digest_only: bool,
    /// Set every modification time to zero
    #[arg(long)]
    use_epoch: bool,
    /// Leave out devices
    #[arg(long)]
    skip_devices: bool,
    /// Leave out extended attributes
    #[arg(long)]
    skip_xattrs: bool,
    /// Keep only extended attributes that begin with user.
    #[arg(long)]
    user_xattrs: bool,
    /// The oldest format to use, 0 or 1
    #[arg(long, default_value = "0", value_parser = clap::value_parser!(u32).range(0..=1))]
    min_version: u32,
    /// The newest format to use where the tree needs it
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(0..=1))]
    max_version: u32,
    /// Copy the files' contents into this object store
    #[arg(long, value_name = "DIR")]
    digest_store: Option<PathBuf>,
    /// Keep hard links of the directory; the C program makes a file of each name
    #[arg(long)]
    hardlinks: bool,
    /// Accepted for compatibility
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
}

impl Mkcomposefs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.image.is_none() && !self.print_digest_only {
            bail!(Usage("the image's path is missing; --print-digest-only does without one".to_owned()));
        }
        let (mut tree, options) = self.read()?;
        self.filter(&mut tree)?;
        let version = erofs::choose_version(self.min_version, self.max_version, &tree)?;
        let digest = self.write(&tree, version, &options)?;
        if self.print_digest || self.print_digest_only {
            writeln!(ui::out(), "{digest}")?;
        }
        Ok(())
    }

    fn read(&self) -> anyhow::Result<(FileTree, WriteOptions)> {
        if self.from_file {
            let text = input::read(&self.source, input::DUMPFILE_MAX)?;
            let parsed = dumpfile::parse(&text, Algorithm::Sha256)
                .with_context(|| format!("dumpfile {}", self.source.display()))?;
            return Ok((parsed.tree, WriteOptions::default().primary_names(parsed.primary_names)));
        }
        let mut tree = scan(CWD, &self.source, Objects::Compute(Algorithm::Sha256), &Silent)?.tree;
        if let Some(store) = &self.digest_store {
            super::digest_store::fill(&tree, &self.source, store)?;
        }
        if !self.hardlinks {
            separate_names(&mut tree)?;
        }
        Ok((tree, WriteOptions::default()))
    }

    fn filter(&self, tree: &mut FileTree) -> anyhow::Result<()> {
        if self.skip_devices {
            let devices: Vec<(InodeId, Vec<u8>)> = tree
                .depth_first()
                .filter(|step| {
                    matches!(
                        tree.inode(step.inode).kind,
                        InodeKind::CharDevice(_) | InodeKind::BlockDevice(_)
                    )
                })
                .filter_map(|step| Some((step.parent, step.name?.as_bytes().to_vec())))
                .collect();
            for (parent, name) in devices {
                tree.unlink(parent, &name)?;
            }
        }
        let inodes: Vec<InodeId> = tree.depth_first().map(|step| step.inode).collect();
        for id in inodes {
            let stat = &mut tree.inode_mut(id).stat;
            if self.use_epoch {
                (stat.mtime_seconds, stat.mtime_nanos) = (0, 0);
            }
            if self.skip_xattrs || self.user_xattrs {
                stat.xattrs.retain(|name, _| !self.skip_xattrs && name.starts_with(b"user."));
            }
        }
        Ok(())
    }

    /// Writes the image, or only hashes it; the file appears whole or not at all.
    fn write(
        &self,
        tree: &FileTree,
        version: FormatVersion,
        options: &WriteOptions,
    ) -> anyhow::Result<String> {
        let mut hasher = VerityHasher::new(Algorithm::Sha256);
        match &self.image {
            None => {
                erofs::write(tree, version, options, &mut Hashed { hasher: &mut hasher, to: None })?;
            }
            Some(path) if path.as_os_str() == "-" => {
                let mut out = io::BufWriter::with_capacity(1 << 16, ui::out());
                erofs::write(
                    tree,
                    version,
                    options,
                    &mut Hashed { hasher: &mut hasher, to: Some(&mut out) },
                )?;
                out.flush()?;
            }
            Some(path) => {
                let context = || format!("write {}", path.display());
                let directory = path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty())
                    .map_or(".".as_ref(), |parent| parent);
                let mut file = tempfile::Builder::new()
                    .prefix(".mkcomposefs-")
                    .permissions(mode_0644())
                    .tempfile_in(directory)
                    .with_context(context)?;
                let mut out = io::BufWriter::with_capacity(1 << 16, file.as_file_mut());
                erofs::write(tree, version, options, &mut Hashed { hasher: &mut hasher, to: Some(&mut out) })
                    .with_context(context)?;
                out.flush().with_context(context)?;
                drop(out);
                file.persist(path).with_context(context)?;
            }
        }
        Ok(hasher.finish().to_hex())
    }
}

pub(super) fn mode_0644() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

/// Makes an inode of each name, as the C program does with a directory.
fn separate_names(tree: &mut FileTree) -> anyhow::Result<()> {
    let counts = tree.name_counts();
    let mut seen = HashSet::new();
    let more: Vec<(InodeId, Name, InodeId)> = tree
        .depth_first()
        .filter(|step| counts.get(step.inode.index()).is_some_and(|count| *count > 1))
        .filter(|step| !seen.insert(step.inode))
        .filter_map(|step| Some((step.parent, step.name?.clone(), step.inode)))
        .collect();
    for (parent, name, inode) in more {
        let copy = tree.inode(inode).clone();
        tree.insert(parent, name, copy)?;
    }
    Ok(())
}

struct Hashed<'a> {
    hasher: &'a mut VerityHasher,
    to: Option<&'a mut dyn Write>,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(to) = &mut self.to {
            to.write_all(bytes)?;
        }
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.as_mut().map_or(Ok(()), |to| to.flush())
    }
}
