//! Looks inside a pulled image: its layers, its EROFS images and every file: `inspect REPOSITORY NAME`.
#![allow(clippy::print_stdout)]

use composefs::{
    dumpfile,
    repo::{OpenOptions, Repository},
};
use composefs_oci::{
    rootfs::{RootfsOptions, tree},
    stored::StoredImage,
};
use rustix::fs::CWD;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [repository, name] = arguments.as_slice() else {
        anyhow::bail!("usage: inspect REPOSITORY NAME");
    };
    let repository = Repository::open(CWD, repository, &OpenOptions::default())?;
    let image = StoredImage::open_tag(&repository, name)?;
    println!("manifest {}", image.manifest().digest());
    println!("config   {}", image.config().digest());
    let layers = image.config().layers()?;
    for (diff_id, stream) in &layers {
        let size = repository.open_stream(stream)?.stream_size().unwrap_or_default();
        println!("layer    {diff_id}, {size} bytes");
    }
    for format in repository.erofs_formats().iter() {
        if let Some(id) = image.config().image(format) {
            println!(
                "image    {} (format {format}), {} objects",
                id.prefixed(),
                repository.image_objects(id)?.len()
            );
        }
    }
    // The tree the image was built from, in the notation of the composefs tools.
    let tree = tree(&repository, image.config().digest(), &layers, &RootfsOptions::default())?;
    dumpfile::write(&tree, &mut std::io::stdout().lock())?;
    Ok(())
}
