//! `composefs-info`: the C inspector's command line.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use composefs::{
    digest::{Algorithm, ObjectId, VerityHasher},
    dumpfile::{
        self,
        escape::{Escape, push_escaped},
    },
    erofs::{self, Image, ReadLimits},
    filetree::{FileTree, InodeId, InodeKind},
};

use crate::{input, ui};

/// Query information from composefs images
#[derive(Debug, Parser)]
#[command(name = "composefs-info", version)]
pub(crate) struct ComposefsInfo {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List files and directories
    Ls {
        /// Only names in the root that are this one (can be repeated)
        #[arg(long, value_name = "NAME")]
        filter: Vec<String>,
        /// Image files
        images: Vec<PathBuf>,
    },
    /// Print everything as a dumpfile
    Dump {
        /// Only names in the root that are this one (can be repeated)
        #[arg(long, value_name = "NAME")]
        filter: Vec<String>,
        /// Image files
        images: Vec<PathBuf>,
    },
    /// List the object paths of files
    Objects {
        /// Image files
        images: Vec<PathBuf>,
    },
    /// List the object paths of files that are not in a directory
    MissingObjects {
        /// The object store
        #[arg(long, value_name = "DIR")]
        basedir: PathBuf,
        /// Image files
        images: Vec<PathBuf>,
    },
    /// Print the fs-verity digest of files
    MeasureFile {
        /// Files
        files: Vec<PathBuf>,
    },
}

impl ComposefsInfo {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut out = std::io::BufWriter::new(ui::out());
        match self.command {
            Command::Ls { filter, images } => {
                for image in images {
                    list(&filtered(tree(&image)?, &filter)?, &mut out)?;
                }
            }
            Command::Dump { filter, images } => {
                for image in images {
                    dumpfile::write(&filtered(tree(&image)?, &filter)?, &mut out)?;
                }
            }
            Command::Objects { images } => {
                for object in objects(&images)? {
                    writeln!(out, "{}", object.object_path())?;
                }
            }
            Command::MissingObjects { basedir, images } => {
                for object in objects(&images)? {
                    let path = object.object_path();
                    if !basedir.join(&path).try_exists().with_context(|| format!("look for {path}"))? {
                        writeln!(out, "{path}")?;
                    }
                }
            }
            Command::MeasureFile { files } => {
                for file in files {
                    writeln!(out, "{}", measure(&file)?)?;
                }
            }
        }
        out.flush()?;
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    input::read(path, ReadLimits::default().image_bytes)
}

/// The tree of an image, whatever the algorithm of its digests.
fn tree(path: &Path) -> anyhow::Result<FileTree> {
    let bytes = read(path)?;
    let image =
        Image::open(&bytes, &ReadLimits::default()).with_context(|| format!("image {}", path.display()))?;
    erofs::to_tree(&image, Algorithm::Sha256)
        .or_else(|first| erofs::to_tree(&image, Algorithm::Sha512).map_err(|_| first))
        .with_context(|| format!("image {}", path.display()))
}

/// Keeps only some names in the root.
fn filtered(mut tree: FileTree, names: &[String]) -> anyhow::Result<FileTree> {
    if !names.is_empty() {
        let others: Vec<Vec<u8>> = tree
            .entries(InodeId::ROOT)
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_bytes().to_vec())
            .filter(|name| names.iter().all(|wanted| wanted.as_bytes() != name))
            .collect();
        for name in others {
            tree.unlink(InodeId::ROOT, &name)?;
        }
    }
    Ok(tree)
}

fn objects(images: &[PathBuf]) -> anyhow::Result<BTreeSet<ObjectId>> {
    let mut all = BTreeSet::new();
    for path in images {
        let bytes = read(path)?;
        let image = Image::open(&bytes, &ReadLimits::default())
            .with_context(|| format!("image {}", path.display()))?;
        let ids = erofs::object_ids(&image, Algorithm::Sha256)
            .or_else(|first| erofs::object_ids(&image, Algorithm::Sha512).map_err(|_| first))
            .with_context(|| format!("image {}", path.display()))?;
        all.extend(ids);
    }
    Ok(all)
}

/// Prints a line for each name: a tab and what it leads to behind it.
fn list(tree: &FileTree, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut path: Vec<u8> = Vec::new();
    let mut ends = vec![0];
    for step in tree.depth_first() {
        let Some(name) = step.name else { continue };
        ends.truncate(step.depth);
        path.truncate(ends.last().copied().unwrap_or(0));
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
        ends.push(path.len());
        let mut line = Vec::new();
        push_name(&mut line, &path);
        match &tree.inode(step.inode).kind {
            InodeKind::Directory(_) => line.extend_from_slice(b"/\t"),
            InodeKind::Symlink(target) => {
                line.extend_from_slice(b"\t-> ");
                push_name(&mut line, target);
            }
            InodeKind::Regular(file) => {
                if let Some(object) = file.object() {
                    line.extend_from_slice(format!("\t@ {}", object.object_path()).as_bytes());
                }
            }
            _ => {}
        }
        line.push(b'\n');
        out.write_all(&line)?;
    }
    Ok(())
}

/// As in a dumpfile, but for blanks: there are no fields here that they could part.
fn push_name(line: &mut Vec<u8>, name: &[u8]) {
    for (n, part) in name.split(|byte| *byte == b' ').enumerate() {
        if n > 0 {
            line.push(b' ');
        }
        push_escaped(line, part, Escape::Path);
    }
}

fn measure(path: &Path) -> anyhow::Result<ObjectId> {
    let context = || format!("read {}", path.display());
    let mut file = std::fs::File::open(path).with_context(context)?;
    let mut hasher = VerityHasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let got = std::io::Read::read(&mut file, &mut buffer).with_context(context)?;
        if got == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(buffer.get(..got).unwrap_or_default());
    }
}
