//! `cfsctl create-image`, `compute-id` and `create-dumpfile`: a directory or dumpfile in, an image or its id out.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use composefs::{
    digest::{Algorithm, ObjectId},
    dumpfile,
    erofs::{self, WriteOptions},
    filetree::FileTree,
    name::RefName,
    progress::Silent,
    repo::Writer,
    scan::{Objects, scan},
};
use rustix::fs::CWD;

use crate::{app::App, cmd::fs_options::FsOptions, input, ui};

/// A tree, and how its image is written.
pub(crate) struct Input {
    pub(crate) tree: FileTree,
    options: WriteOptions,
}

/// Reads the tree that the options mean; its files' contents go to `store`, if there is one.
pub(crate) fn read(
    options: &FsOptions,
    algorithm: Algorithm,
    store: Option<&Writer>,
    app: &App,
) -> anyhow::Result<Input> {
    if options.dumpfile {
        let text = input::read(&options.path, input::DUMPFILE_MAX)?;
        let parsed = dumpfile::parse(&text, algorithm)
            .with_context(|| format!("dumpfile {}", options.path.display()))?;
        return Ok(Input { tree: parsed.tree, options: WriteOptions::default() });
    }
    let mut tree = match store {
        Some(writer) => scan(CWD, &options.path, Objects::Store(writer), app.observer().as_ref())?.tree,
        None => scan(CWD, &options.path, Objects::Compute(algorithm), &Silent)?.tree,
    };
    if let Some(transform) = options.transform(app.global.strict) {
        tree.transform_for_oci(transform).with_context(|| format!("tree {}", options.path.display()))?;
    }
    if options.bootable {
        crate::cmd::compute_karg::boot_transform(&mut tree, &options.path)?;
    }
    Ok(Input { tree, options: WriteOptions::default() })
}

/// Store a directory's files and an image of it
///
/// Prints the image's id. Without a NAME the next `gc` removes the image again.
///
/// Example: cfsctl create-image /srv/rootfs web/v1
#[derive(Debug, Args)]
pub(crate) struct CreateImage {
    #[command(flatten)]
    options: FsOptions,
    /// A name for the image, below images/refs/
    image_name: Option<String>,
}

impl CreateImage {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let name = self.image_name.map(RefName::new).transpose()?;
        let writer = app.writer_or_create()?;
        let input = read(&self.options, writer.algorithm(), Some(&writer), app)?;
        let id = composefs::image::store_with(&writer, &input.tree, app.version(&writer), &input.options)?;
        commit_image(&writer, id, name)
    }
}

/// Gives a stored image its entry, and a ref if it is to have a name; prints the id.
pub(crate) fn commit_image(writer: &Writer, id: ObjectId, name: Option<RefName>) -> anyhow::Result<()> {
    let mut commit = writer.begin();
    commit.image(id);
    if let Some(name) = name {
        commit.image_ref(name, &id);
    }
    commit.finish()?;
    writeln!(ui::out(), "{}", id.prefixed())?;
    Ok(())
}

/// Print the id of a directory's image, storing nothing
///
/// Example: cfsctl --no-repo --hash sha256 compute-id /srv/rootfs
#[derive(Debug, Args)]
pub(crate) struct ComputeId {
    #[command(flatten)]
    options: FsOptions,
}

impl ComputeId {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let algorithm = app.algorithm_anyhow()?;
        let input = read(&self.options, algorithm, None, app)?;
        let id = erofs::compute_id(&input.tree, app.version_alone(), algorithm, &input.options)?;
        writeln!(ui::out(), "{id}")?;
        Ok(())
    }
}

/// Print a directory's tree as a dumpfile, storing nothing
#[derive(Debug, Args)]
pub(crate) struct CreateDumpfile {
    #[command(flatten)]
    options: FsOptions,
}

impl CreateDumpfile {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let input = read(&self.options, app.algorithm_anyhow()?, None, app)?;
        let mut out = std::io::BufWriter::new(ui::out());
        dumpfile::write(&input.tree, &mut out)?;
        out.flush()?;
        Ok(())
    }
}
