//! `cfsctl dump-files`

use std::io::Write as _;

use anyhow::bail;
use clap::Args;
use composefs::{
    dumpfile::Line,
    filetree::{FileTree, InodeId, InodeKind},
};

use crate::{app::App, ui};

/// Print what an image says about files
///
/// One line of a dumpfile each; a directory lists itself and what is in it.
#[derive(Debug, Args)]
pub(crate) struct DumpFiles {
    /// An image id, refs/ and a name, or a bare name
    image_name: String,
    /// Absolute paths in the image
    files: Vec<String>,
    /// Print where the contents are instead: inline, or a path below objects/
    #[arg(long)]
    backing_path_only: bool,
}

impl DumpFiles {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let id = repo.resolve_image(&self.image_name)?.id;
        let tree = composefs::image::tree(&repo, &id)?;
        let counts = tree.name_counts();
        let mut out = std::io::BufWriter::new(ui::out());
        for path in &self.files {
            let components: Vec<&[u8]> =
                path.as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
            let Ok(inode) = tree.lookup(&components) else { bail!("{path} not found") };
            let path = format!(
                "/{}",
                components.iter().map(|part| String::from_utf8_lossy(part)).collect::<Vec<_>>().join("/")
            );
            if self.backing_path_only {
                writeln!(out, "{path} {}", backing(&tree, inode, &path)?)?;
                continue;
            }
            print(&tree, inode, path.as_bytes(), &counts, &mut out)?;
            for (name, child) in tree.entries(inode).into_iter().flatten() {
                let mut below = path.clone().into_bytes();
                if below != b"/" {
                    below.push(b'/');
                }
                below.extend_from_slice(name.as_bytes());
                print(&tree, *child, &below, &counts, &mut out)?;
            }
        }
        out.flush()?;
        Ok(())
    }
}

fn print(
    tree: &FileTree,
    inode: InodeId,
    path: &[u8],
    counts: &[u32],
    out: &mut dyn std::io::Write,
) -> anyhow::Result<()> {
    let directories = || {
        tree.entries(inode)
            .into_iter()
            .flatten()
            .filter(|(_, child)| tree.inode(**child).kind.is_directory())
            .count()
    };
    let nlink = match &tree.inode(inode).kind {
        InodeKind::Directory(_) => u32::try_from(directories()).unwrap_or(u32::MAX).saturating_add(2),
        _ => counts.get(inode.index()).copied().unwrap_or(1),
    };
    writeln!(out, "{}", Line::new(path, tree.inode(inode), nlink))?;
    Ok(())
}

fn backing(tree: &FileTree, inode: InodeId, path: &str) -> anyhow::Result<String> {
    Ok(match &tree.inode(inode).kind {
        InodeKind::Directory(_) => bail!("{path} is a directory"),
        InodeKind::Regular(file) => {
            file.object().map_or_else(|| "inline".to_owned(), composefs::digest::ObjectId::object_path)
        }
        _ => "inline".to_owned(),
    })
}
