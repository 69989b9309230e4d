//! `cfsctl oci diff`

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCompleter;
use composefs::{
    filetree::{
        FileTree, InodeId, InodeKind,
        diff::{Difference, diff},
    },
    repo::Repository,
};
use composefs_oci::{
    digest::DiffId,
    find::{self, ImageKind, Name},
};
use serde::Serialize;

use crate::{
    app::App,
    complete,
    ui::{self, path::Exact},
};

/// Show what differs between two images
///
/// A line for each path: A for one that only the second image has, D for one that only the first has, C for one that
/// differs, with what differs. Times count only with --times: a rebuilt image has new ones everywhere.
///
/// Example: cfsctl oci diff web:1 web:2
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The image compared with: a tag, a manifest's or config's digest, an image id, or refs/ and a name
    #[arg(add = ArgValueCompleter::new(complete::tags))]
    old: Name,
    /// The image compared
    #[arg(add = ArgValueCompleter::new(complete::tags))]
    new: Name,
    /// Times of modification count, too
    #[arg(long)]
    times: bool,
    /// Print the totals only
    #[arg(long, short)]
    summary: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    version: u32,
    changes: Vec<Change>,
    totals: Totals,
}

#[derive(Serialize)]
struct Change {
    path: Exact,
    change: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    what: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_size: Option<u64>,
}

#[derive(Default, Serialize)]
struct Totals {
    added: u64,
    added_bytes: u64,
    removed: u64,
    removed_bytes: u64,
    changed: u64,
    /// Bytes of the files with other contents, as they are in the second image.
    changed_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Layers>,
}

#[derive(Serialize)]
struct Layers {
    shared: usize,
    old_only: usize,
    new_only: usize,
}

impl Diff {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let tree = |name: &Name| {
            find::tree(&repo, name, app.version(&repo), ImageKind::Root)
                .with_context(|| format!("read image {name}"))
        };
        let (old, new) = (tree(&self.old)?, tree(&self.new)?);
        let mut totals = Totals { layers: layers(&repo, &self.old, &self.new), ..Totals::default() };
        let mut changes = Vec::new();
        let mut out = std::io::BufWriter::new(ui::out());
        diff(&old, &new, |path, difference| {
            let Some(change) = self.change(path, difference, &old, &new, &mut totals) else { return Ok(()) };
            if self.json {
                changes.push(change);
            } else if !self.summary {
                let letter = match change.change {
                    "added" => 'A',
                    "removed" => 'D',
                    _ => 'C',
                };
                let what = match change.what.is_empty() {
                    true => String::new(),
                    false => format!(" ({})", change.what.join(", ")),
                };
                writeln!(out, "{letter} {}{what}", change.path)?;
            }
            Ok::<_, std::io::Error>(())
        })?;
        if self.json {
            drop(out);
            if self.summary {
                changes.clear();
            }
            return ui::json::print(&Document { version: 1, changes, totals });
        }
        out.write_all(totals.text().as_bytes())?;
        out.flush()?;
        Ok(())
    }

    fn change(
        &self,
        path: &[u8],
        difference: Difference,
        old: &FileTree,
        new: &FileTree,
        totals: &mut Totals,
    ) -> Option<Change> {
        let count = |number: &mut u64, by: u64| *number = number.saturating_add(by);
        let path = Exact(path.to_vec());
        Some(match difference {
            Difference::Added(inode) => {
                let size = size(new, inode);
                count(&mut totals.added, 1);
                count(&mut totals.added_bytes, size.unwrap_or(0));
                Change { path, change: "added", what: Vec::new(), old_size: None, new_size: size }
            }
            Difference::Removed(inode) => {
                let size = size(old, inode);
                count(&mut totals.removed, 1);
                count(&mut totals.removed_bytes, size.unwrap_or(0));
                Change { path, change: "removed", what: Vec::new(), old_size: size, new_size: None }
            }
            Difference::Changed { old: before, new: after, mut changes } => {
                changes.mtime &= self.times;
                if !changes.any() {
                    return None;
                }
                let (old_size, new_size) = (size(old, before), size(new, after));
                count(&mut totals.changed, 1);
                if changes.content || changes.kind {
                    count(&mut totals.changed_bytes, new_size.unwrap_or(0));
                }
                Change { path, change: "changed", what: changes.words(), old_size, new_size }
            }
        })
    }
}

fn size(tree: &FileTree, inode: InodeId) -> Option<u64> {
    match &tree.inode(inode).kind {
        InodeKind::Regular(file) => Some(file.size()),
        _ => None,
    }
}

/// How many layers the images share, if both have some.
fn layers(repo: &Repository, old: &Name, new: &Name) -> Option<Layers> {
    let of = |name: &Name| -> Option<Vec<DiffId>> {
        let config = match find::image(repo, name) {
            Ok(image) => image.config().clone(),
            Err(_) => find::config(repo, name, None).ok()?,
        };
        Some(config.layers().ok()?.into_iter().map(|(diff_id, _)| diff_id).collect())
    };
    let (old, new) = (of(old)?, of(new)?);
    let shared = new.iter().filter(|layer| old.contains(layer)).count();
    let old_only = old.iter().filter(|layer| !new.contains(layer)).count();
    Some(Layers { shared, old_only, new_only: new.len().saturating_sub(shared) })
}

impl Totals {
    fn text(&self) -> String {
        let human = ui::size::human;
        let mut text = format!(
            "{} added ({}), {} removed ({}), {} changed ({})\n",
            self.added,
            human(self.added_bytes),
            self.removed,
            human(self.removed_bytes),
            self.changed,
            human(self.changed_bytes)
        );
        if let Some(layers) = &self.layers {
            text.push_str(&format!(
                "layers: {} shared, {} only in the first, {} only in the second\n",
                layers.shared, layers.old_only, layers.new_only
            ));
        }
        text
    }
}
