//! `cfsctl dump-files`

use std::{collections::HashMap, io::Write as _};

use anyhow::bail;
use clap::Args;
use composefs::{
    dumpfile::{HardlinkLine, Line},
    filetree::{FileTree, InodeId, InodeKind},
};

use crate::{app::App, ui};

/// Print what an image says about files
///
/// One line of a dumpfile each; a directory lists itself and all that is below it.
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
            if self.backing_path_only {
                writeln!(out, "{path} {}", backing(&tree, inode, path)?)?;
                continue;
            }
            list(&tree, inode, path, &counts, &mut out)?;
        }
        out.flush()?;
        Ok(())
    }
}

/// Prints an inode and all below it; a further name of what was printed is a line of its own kind.
fn list(
    tree: &FileTree,
    inode: InodeId,
    path: &str,
    counts: &[u32],
    out: &mut dyn std::io::Write,
) -> anyhow::Result<()> {
    let mut first: HashMap<InodeId, Vec<u8>> = HashMap::new();
    for (path, inode) in tree.paths(path.as_bytes(), inode) {
        if let Some(target) = first.get(&inode) {
            writeln!(
                out,
                "{}",
                HardlinkLine { path: path.as_slice().into(), target: target.as_slice().into() }
            )?;
            continue;
        }
        let nlink = tree.link_count(inode, counts);
        writeln!(out, "{}", Line::new(path.as_slice(), tree.inode(inode), nlink))?;
        first.insert(inode, path);
    }
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
