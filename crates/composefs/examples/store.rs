//! Stores a directory as an image and names it: `store REPOSITORY DIRECTORY NAME`.
#![allow(clippy::print_stdout)]

use anyhow::Context as _;
use composefs::{
    erofs::{self, WriteOptions},
    name::RefName,
    progress::Silent,
    repo::{OpenOptions, Repository},
    scan::{Objects, scan},
};
use rustix::fs::CWD;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [repository, directory, name] = arguments.as_slice() else {
        anyhow::bail!("usage: store REPOSITORY DIRECTORY NAME");
    };
    let writer = Repository::open(CWD, repository, &OpenOptions::default())?.into_writer()?;
    let mut tree = scan(CWD, directory, Objects::Store(&writer), &Silent)?.tree;
    tree.transform_for_oci(Default::default()).context("transform")?;
    let bytes = erofs::to_vec(&tree, writer.erofs_formats().default, &WriteOptions::default())?;
    let image = writer.store_bytes(&bytes)?.id;

    // The one place where names are made: after everything they lead to is durable.
    let mut commit = writer.begin();
    commit.image(image).image_ref(RefName::new(name.as_str())?, &image);
    commit.finish()?;
    println!("{}", image.prefixed());
    Ok(())
}
