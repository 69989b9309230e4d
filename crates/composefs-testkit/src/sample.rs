//! The sample image that ships with the project in `examples/sample-image`: small, and one of each kind of thing.
//!
//! Two layers: the lower, in gzip, has a little `/usr` with a program that carries a file capability, a hard link, a
//! symbolic link, a file small enough to live inside the image (64 bytes and below) and files that become objects;
//! the upper, in zstd, replaces one file, adds one, and removes one by a whiteout.

use crate::images::{Compression, Image, Layer, Layout, Written};
use crate::tars::{Meta, TarBuilder};
use serde_json::json;
use std::path::Path;

/// 2024-01-01T00:00:00Z, the time of all files.
const TIME: u64 = 1_704_067_200;

/// `cap_net_bind_service=ep`, in the kernel's form, version 2.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Writes the sample image as a layout into `dir`, tagged `latest`.
///
/// # Panics
/// When files cannot be written.
pub fn write(dir: &Path) -> Written {
    let mut layout = Layout::create(dir);
    let image = Image::new([Layer::new(lower(), Compression::Gzip), Layer::new(upper(), Compression::Zstd)])
        .config("Cmd", json!(["/usr/bin/hello"]))
        .config("Env", json!(["PATH=/usr/bin"]))
        .config("Labels", json!({"org.opencontainers.image.title": "composefs-oci sample"}));
    layout.image("latest", &image)
}

/// Returns the lower layer's tar.
#[must_use]
pub fn lower() -> Vec<u8> {
    let program = Meta { mode: 0o755, mtime: TIME, ..Meta::default() };
    let words: String = (1..=400).map(|n| format!("{n} is a number, and so is {}\n", n * n)).collect();
    TarBuilder::new()
        .mtime(TIME)
        .dir("etc")
        .file("etc/hostname", "sample\n")
        .file("etc/motd", "This file is removed by the upper layer, which has a whiteout for it.\n".repeat(2))
        .dir("usr")
        .dir("usr/bin")
        .xattr("security.capability", CAPABILITY)
        .file_with(
            "usr/bin/hello",
            "#!/bin/sh\n# More than 64 bytes, hence an object of its own in a repository.\necho hello\n",
            program,
        )
        .hardlink("usr/bin/hello-again", "usr/bin/hello")
        .symlink("usr/bin/hi", "hello")
        .dir("usr/share")
        .file("usr/share/numbers", words)
        .file("usr/share/version", "1\n")
        .dir_with("tmp", Meta { mode: 0o1777, mtime: TIME, ..Meta::default() })
        .finish()
}

/// Returns the upper layer's tar.
#[must_use]
pub fn upper() -> Vec<u8> {
    TarBuilder::new()
        .mtime(TIME)
        .dir("etc")
        .whiteout("etc/motd")
        .dir("usr")
        .dir("usr/share")
        .file("usr/share/news", "New in the upper layer, and long enough to be stored as an object.\n")
        .file("usr/share/version", "2\n")
        .finish()
}
