//! Every dumpfile of the vectors: written, the id compared, read back.

use std::{fs, path::Path, process::Command};

use composefs::{
    digest::{Algorithm, object_id_of},
    dumpfile,
    erofs::{FormatVersion, Image, ReadLimits},
    filetree::FileTree,
};
use composefs_testkit::skip_or_fail;

use crate::{dump, read, write};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/erofs");

fn algorithm_of(name: &str) -> Algorithm {
    if name.contains("512") { Algorithm::Sha512 } else { Algorithm::Sha256 }
}

/// V2 has no nanoseconds.
fn without_nanoseconds(mut tree: FileTree) -> FileTree {
    let inodes: Vec<_> = tree.depth_first().map(|step| step.inode).collect();
    for inode in inodes {
        tree.inode_mut(inode).stat.mtime_nanos = 0;
    }
    tree
}

#[test]
fn what_is_written_is_read_back() {
    let ids = fs::read_to_string(format!("{VECTORS}/ids.tsv")).unwrap();
    let mut read_back = 0;
    for line in ids.lines().skip(1) {
        let fields: Vec<_> = line.split('\t').collect();
        let (name, status) = (fields[0], fields[5]);
        let path = format!("{VECTORS}/{name}.dump");
        if !Path::new(&path).exists() || status == "other" {
            continue;
        }
        let algorithm = algorithm_of(name);
        let version = FormatVersion::from_number(fields[1].parse().unwrap()).unwrap();
        let tree = dumpfile::parse(&fs::read(&path).unwrap(), algorithm).unwrap().tree;
        let image = write(&tree, version).unwrap();
        if status == "either" && object_id_of(Algorithm::Sha256, &image).to_hex() != fields[2] {
            continue;
        }
        let again = read(&image, algorithm);
        let tree = if version == FormatVersion::V2 { without_nanoseconds(tree) } else { tree };
        // There the owner's value gave way to a marker when the image was written.
        if (name, version) != ("x-whiteout-in-opaque", FormatVersion::V1) {
            similar_asserts::assert_eq!(dump(&tree), dump(&again), "{name} V{version}");
        }
        assert!(
            write(&again, version).unwrap() == image,
            "{name} V{version}: another image when written again"
        );
        read_back += 1;
    }
    assert!(read_back > 150, "only {read_back}");
}

#[test]
fn what_others_wrote_reads_as_it_was_meant() {
    let mut images = 0;
    for entry in fs::read_dir(format!("{VECTORS}/images")).unwrap() {
        let file_name = entry.unwrap().file_name().into_string().unwrap();
        let Some((name, version)) = file_name.strip_suffix(".img.xz").and_then(|stem| stem.rsplit_once(".v"))
        else {
            continue;
        };
        let output = Command::new("xz").arg("-dc").arg(format!("{VECTORS}/images/{file_name}")).output();
        let Ok(output) = output else { skip_or_fail!("needs xz") };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bytes = output.stdout;
        let version = FormatVersion::from_number(version.parse().unwrap()).unwrap();
        assert_eq!(Image::open(&bytes, &ReadLimits::default()).unwrap().version(), version);
        let tree = read(&bytes, algorithm_of(name));
        assert!(write(&tree, version).unwrap() == bytes, "{file_name}: another image when written again");
        images += 1;
    }
    assert!(images >= 36, "only {images}");
}
