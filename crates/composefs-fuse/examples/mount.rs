//! Shows an image by FUSE until it is unmounted: `mount REPOSITORY IMAGE DIRECTORY`.
#![forbid(unsafe_code)]

use std::error::Error;

use composefs::{
    digest::ObjectId,
    mount::ImageSource,
    repo::{OpenOptions, Repository},
};
use composefs_fuse::{FuseMount, FuseOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(image), Some(directory)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: mount REPOSITORY IMAGE DIRECTORY".into());
    };
    let repository = Repository::open(rustix::fs::CWD, path, &OpenOptions::default())?;
    let id = ObjectId::from_hex(repository.algorithm(), &image)?;
    let source = ImageSource::open(&repository, &id)?;
    // A server that held the lock would keep every collector waiting; the mount's note keeps the image.
    drop(repository);
    FuseMount::spawn(source, directory.as_ref(), &FuseOptions::default())?.wait()?;
    Ok(())
}
