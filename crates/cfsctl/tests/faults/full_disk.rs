//! A disk that is full at some point of a pull: an error that says so, a clean repository, and success with space.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use composefs_testkit::{
    Sandbox,
    images::{Compression, Image, Layer, Layout},
    peers, require,
    tars::TarBuilder,
};

use crate::{scenario::CFSCTL, state::State};

const DISK: u64 = 8 << 20;
const SIZES: u64 = 50;
/// A little more than the image takes in the repository.
const NEEDED: u64 = 1_800 << 10;

/// A small ext4 on a loop device, mounted below a sandbox.
struct Disk {
    at: PathBuf,
}

impl Disk {
    fn or_skip(sandbox: &Sandbox) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            require::skip("needs root and loop devices");
            return None;
        }
        let mkfs = peers::program_or_skip("mkfs.ext4")?;
        let image = sandbox.path("disk.img");
        File::create(&image).unwrap().set_len(DISK).unwrap();
        let at = sandbox.path("disk");
        std::fs::create_dir(&at).unwrap();
        run(Command::new(mkfs).args(["-q", "-m", "0", "-N", "1024", "-O", "^has_journal"]).arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at));
        Some(Self { at })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.at).status();
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Takes so many bytes, or a little less: the file's own blocks need some, too.
fn fill(path: &Path, mut bytes: u64) {
    let file = File::create(path).unwrap();
    while let Err(error) = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        assert_eq!(error, rustix::io::Errno::NOSPC);
        bytes -= 4096;
    }
}

/// Files of all sizes, that do not compress: small ones, one that is stored as it comes, and what stays in streams.
fn image() -> Image {
    let mut state = 1_u64;
    let mut random = |length: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    };
    let mut many = TarBuilder::new().dir("usr");
    for n in 0..40 {
        many = many.file(&format!("usr/{n}"), random(n * 150));
    }
    let large = TarBuilder::new().dir("opt").file("opt/large", random(1_300_000)).finish();
    Image::new([Layer::new(many.finish(), Compression::Gzip), Layer::new(large, Compression::Zstd)])
}

#[test]
fn a_pull_onto_disks_of_fifty_sizes() {
    let sandbox = Sandbox::new(CFSCTL);
    let Some(disk) = Disk::or_skip(&sandbox) else { return };
    let mut layout = Layout::create(sandbox.path("layout"));
    layout.image("one", &image());
    let reference = layout.reference("one");
    let repo = disk.at.join("repo");
    let cfsctl = |arguments: &[&str]| {
        let global = ["--progress=none", "--repo", repo.to_str().unwrap()];
        sandbox.bare([&global[..], arguments].concat())
    };
    let pull = ["oci", "pull", &reference, "one"];
    let _ = cfsctl(&["init", "--insecure"]).success();
    let empty = State::read(&repo);
    let (mut full, mut fitting) = (0, 0);
    for size in 0..SIZES {
        // What is left free is the size of this disk; the rest is taken by a file.
        let left = NEEDED * size / (SIZES - 1);
        let filler = disk.at.join("filler");
        let free = rustix::fs::statvfs(&disk.at).unwrap();
        let taken = (free.f_bavail * free.f_frsize).saturating_sub(left);
        fill(&filler, taken);
        let output = cfsctl(&pull);
        if output.code() == 0 {
            fitting += 1;
        } else {
            full += 1;
            let talk = output.talk();
            assert_eq!(output.code(), 1, "{left} bytes left: {output}");
            assert!(talk.contains("No space left on device"), "{left} bytes left: {talk}");
            assert!(talk.contains("hint: free some space"), "{left} bytes left: {talk}");
            let tags = cfsctl(&["oci", "images", "--json"]).success().json();
            assert_eq!(tags["images"].as_array().unwrap().len(), 0, "{left} bytes left: {tags}");
            let _ = cfsctl(&["fsck", "--deep"]).success();
            let _ = cfsctl(&["oci", "fsck"]).success();
            // What the failed pull has left can be collected while the disk is full.
            let _ = cfsctl(&["gc"]).success();
            assert_eq!(State::read(&repo).files_other_than(&empty), "", "{left} bytes left");
            std::fs::remove_file(&filler).unwrap();
            let _ = cfsctl(&pull).success();
        }
        let _ = std::fs::remove_file(&filler);
        let _ = cfsctl(&["oci", "fsck"]).success();
        let _ = cfsctl(&["oci", "untag", "one"]).success();
        let _ = cfsctl(&["gc"]).success();
    }
    eprintln!("full disk: {full} pulls failed, {fitting} fitted");
    assert!(full >= 30 && fitting >= 1, "{full} pulls failed, {fitting} fitted");
}
