//! `cfsctl oci extract`

use std::{
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use composefs::{
    extract::{self, ExtractOptions, Extracted, Owners, extract},
    filetree::resolve::LastLink,
};
use serde::Serialize;

use crate::{app::App, cmd::oci::tree_args::TreeArgs, ui};

/// Take files out of an image, without mounting it
///
/// DEST is as for cp -a: if it is a directory, the file or directory goes into it under its own name, else it becomes
/// DEST. With PATH / or one that ends in /. what is in the directory goes into DEST, which is made if it is missing.
/// Nothing that is there is replaced, and nothing is left if it does not work. Contents are checked against their
/// digests on the way.
///
/// For root, owners, devices and all attributes are restored. For others files are theirs, set-id bits are dropped, and
/// what needs root is left out and named; the exit status is 1 then.
///
/// Example: cfsctl oci extract web /etc/nginx .
#[derive(Debug, Args)]
pub(crate) struct Extract {
    #[command(flatten)]
    args: TreeArgs,
    /// A path in the image
    path: OsString,
    /// Where to
    dest: PathBuf,
    /// Restore the image's owners, or fail
    #[arg(long, conflicts_with = "no_same_owner")]
    same_owner: bool,
    /// Do not restore owners, for root either
    #[arg(long)]
    no_same_owner: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    version: u32,
    paths: Vec<PathBuf>,
    directories: u64,
    files: u64,
    bytes: u64,
    hard_links: u64,
    others: u64,
    devices_left_out: Vec<String>,
    xattrs_left_out: Vec<LeftOut>,
}

#[derive(Serialize)]
struct LeftOut {
    name: String,
    files: u64,
}

impl Extract {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<ExitCode> {
        let repo = app.repository()?;
        let tree = self.args.tree(app, &repo)?;
        let contents = self.path.as_encoded_bytes().ends_with(b"/.") || self.path == ".";
        let found = self.args.resolve(&tree, &self.path, LastLink::Keep)?;
        let owners = match (self.same_owner, self.no_same_owner) {
            (true, _) => Owners::Image,
            (_, true) => Owners::Own,
            _ => Owners::Auto,
        };
        let options =
            ExtractOptions::default().contents(contents).owners(owners).cancel(ui::interrupt::watch()?);
        let observer = app.observer();
        let done = match extract(&repo, &tree, &found, &self.dest, &options, observer.as_ref()) {
            Err(composefs::Error::Cancelled) => {
                drop(observer);
                ui::say!("interrupted; nothing was left in {}", self.dest.display());
                return Ok(ExitCode::from(ui::interrupt::status()));
            }
            done => {
                done.with_context(|| format!("extract {} to {}", self.path.display(), self.dest.display()))?
            }
        };
        drop(observer);
        let complete = done.is_complete();
        if !app.global.quiet {
            for line in left_out(&done) {
                ui::say!("warning: {line}");
            }
        }
        match self.json {
            true => ui::json::print(&Document::new(done))?,
            false => writeln!(ui::out(), "{}", summary(&done, &self.dest))?,
        }
        Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Document {
    fn new(done: Extracted) -> Self {
        let text = |bytes: &[u8]| ui::path::show(bytes).into_owned();
        Self {
            version: 1,
            devices_left_out: done.devices_left_out.iter().map(|path| text(path)).collect(),
            xattrs_left_out: done
                .xattrs_left_out
                .iter()
                .map(|(name, files)| LeftOut { name: text(name), files: *files })
                .collect(),
            paths: done.paths,
            directories: done.directories,
            files: done.files,
            bytes: done.bytes,
            hard_links: done.hard_links,
            others: done.others,
        }
    }
}

fn summary(done: &extract::Extracted, dest: &Path) -> String {
    format!(
        "{} files ({}), {} directories, {} hard links, {} others extracted to {}",
        done.files,
        ui::size::human(done.bytes),
        done.directories,
        done.hard_links,
        done.others,
        dest.display()
    )
}

fn left_out(done: &Extracted) -> Vec<String> {
    let devices = done
        .devices_left_out
        .iter()
        .map(|path| format!("{}: a device, which only root can make, was left out", ui::path::show(path)));
    let xattrs = done.xattrs_left_out.iter().map(|(name, files)| {
        format!("the attribute {} could not be set on {files} files", ui::path::show(name))
    });
    devices.chain(xattrs).collect()
}
