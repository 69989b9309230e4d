//! Writes the sample image anew: `cargo run -p composefs-testkit --example sample-image`.
//!
//! Without an argument into `examples/sample-image`, where it is kept in git; else into the directory named.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let dir = std::env::args_os()
        .nth(1)
        .map_or_else(|| composefs_testkit::project("examples/sample-image"), PathBuf::from);
    if dir.join("oci-layout").exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let written = composefs_testkit::sample::write(&dir);
    println!("{}\nmanifest {}\nconfig   {}", dir.display(), written.manifest.digest, written.config.digest);
    Ok(())
}
