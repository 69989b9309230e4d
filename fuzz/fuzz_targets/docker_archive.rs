//! Archives of `docker save`: no input panics, and what is given out is what the manifest made for it says.
//!
//! The input is members with a NUL between two: a line with the kind (`f`, `s`, `h`: file, symlink, hard link) and the
//! name, then the contents or target. `~` in a name or a document is the digest of the next member's contents as hex, so
//! that names can be true whatever becomes of the bytes.
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::io::Read as _;

use composefs_oci::{
    digest::Digest,
    model::{Manifest, media_type, platform::Platform},
    reference::ArchiveSelect,
    transport::{Source as _, docker_archive::DockerArchive},
};
use composefs_tar::build::Archive;

/// The most bytes a layer may unpack to here.
const LAYER_MAX: u64 = 1 << 22;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut members: Vec<(u8, Vec<u8>, Vec<u8>)> = Vec::new();
    for part in data.splitn(17, |&byte| byte == 0).collect::<Vec<_>>().into_iter().rev() {
        let Some(end) = part.iter().position(|&byte| byte == b'\n') else { continue };
        let hex = members.last().map(|(_, _, contents)| Digest::sha256(contents).encoded().to_owned());
        let resolve = |bytes: &[u8]| {
            let hex = hex.as_deref().unwrap_or("~").as_bytes();
            bytes.iter().flat_map(|byte| if *byte == b'~' { hex } else { std::slice::from_ref(byte) }).copied().collect()
        };
        let (head, contents) = (&part[..end], &part[end + 1..]);
        let Some((kind, name)) = head.split_first() else { continue };
        members.push((*kind, resolve(name), resolve(contents)));
    }
    let mut archive = Archive::new();
    for (kind, name, contents) in members.iter().rev() {
        archive = match kind {
            b's' => archive.symlink(name, contents),
            b'h' => archive.hardlink(name, contents),
            _ => archive.file(name, contents),
        };
    }
    let archive = archive.finish();
    let selects = [ArchiveSelect::Only, ArchiveSelect::Position(1), ArchiveSelect::Name("a:b".parse().unwrap())];
    for select in selects {
        let Ok(source) = DockerArchive::from_bytes(archive.clone(), select, "memory") else { return };
        let Ok(root) = source.root() else { continue };
        assert_eq!(Digest::sha256(&root.bytes), root.digest);
        assert_eq!(media_type::of_document(None, &root.bytes).unwrap(), root.media_type);
        let platform: Platform = "linux/amd64".parse().unwrap();
        assert_eq!(source.manifest(&platform).unwrap().bytes, root.bytes);
        let manifest = Manifest::parse(root.bytes).unwrap();
        let config = manifest.parsed().config();
        source.document(config, config.size()).unwrap();
        for layer in manifest.layers().iter().filter(|layer| layer.size() <= LAYER_MAX) {
            // Its contents may be wrong, never of another size: what unpacks did so before.
            let mut contents = Vec::new();
            source.blob(layer).unwrap().read_to_end(&mut contents).unwrap();
            assert!(manifest.layers().iter().any(|there| there.size() == contents.len() as u64));
        }
    }
}
