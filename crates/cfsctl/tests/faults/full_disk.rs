//! A disk that is full at some point of a pull: an error that says so, a clean repository, and success with space.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use composefs_testkit::{
    Output, Sandbox,
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
    fn or_skip(sandbox: &Sandbox, inodes: u32) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            require::skip("needs root and loop devices");
            return None;
        }
        let mkfs = peers::program_or_skip("mkfs.ext4")?;
        let image = sandbox.path("disk.img");
        File::create(&image).unwrap().set_len(DISK).unwrap();
        let at = sandbox.path("disk");
        std::fs::create_dir(&at).unwrap();
        let inodes = inodes.to_string();
        run(Command::new(mkfs).args(["-q", "-m", "0", "-N", &inodes, "-O", "^has_journal"]).arg(&image));
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

/// Writes the image beside the disk and returns its reference.
fn layout(sandbox: &Sandbox) -> String {
    let mut layout = Layout::create(sandbox.path("layout"));
    layout.image("one", &image());
    layout.reference("one")
}

fn cfsctl(sandbox: &Sandbox, progress: &str, repo: &Path, arguments: &[&str]) -> Output {
    sandbox.bare([&[progress, "--repo", repo.to_str().unwrap()], arguments].concat())
}

#[test]
fn a_pull_onto_disks_of_fifty_sizes() {
    let sandbox = Sandbox::new(CFSCTL);
    let Some(disk) = Disk::or_skip(&sandbox, 1024) else { return };
    let (reference, repo) = (layout(&sandbox), disk.at.join("repo"));
    let cfsctl = |arguments: &[&str]| cfsctl(&sandbox, "--progress=none", &repo, arguments);
    // Most of these would be refused before they start.
    let pull = ["oci", "pull", "--no-space-check", &reference, "one"];
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

/// Before a pull starts it is refused if it cannot fit, and nothing is written; so is one that would run out of inodes.
#[test]
fn what_cannot_fit_is_refused() {
    let sandbox = Sandbox::new(CFSCTL);
    let Some(disk) = Disk::or_skip(&sandbox, 1024) else { return };
    let (reference, repo) = (layout(&sandbox), disk.at.join("repo"));
    let cfsctl = |arguments: &[&str]| cfsctl(&sandbox, "--progress=plain", &repo, arguments);
    let pull = ["oci", "pull", &reference, "one"];
    let _ = cfsctl(&["init", "--insecure"]).success();
    let empty = State::read(&repo);
    let plan = cfsctl(&["oci", "pull", "--dry-run", "--json", &reference]).success();
    let plan: serde_json::Value =
        serde_json::from_slice(&plan.stdout).unwrap_or_else(|error| panic!("{error}: {plan}"));
    let space = &plan["plan"]["space"];
    let (needed, likely) = (space["needed"].as_u64().unwrap(), space["likely"].as_u64().unwrap());
    assert!(needed > 1_300_000 && needed < NEEDED && likely > needed, "{space}");
    assert!(space["available"].as_u64().unwrap() < DISK, "{space}");

    let free = rustix::fs::statvfs(&disk.at).unwrap();
    let filler = disk.at.join("filler");
    fill(&filler, (free.f_bavail * free.f_frsize).saturating_sub(needed - 100_000));
    let refused = cfsctl(&pull);
    assert_eq!(refused.code(), 1, "{refused}");
    assert!(refused.talk().contains("no space for it in "), "{refused}");
    assert!(refused.talk().contains("it takes 2 MiB at least, and there is 1 MiB"), "{refused}");
    assert!(refused.talk().contains("--no-space-check"), "{refused}");
    assert_eq!(State::read(&repo).files_other_than(&empty), "");
    // Told not to look, it runs out in the middle.
    let full = cfsctl(&["oci", "pull", "--no-space-check", &reference, "one"]);
    assert!(full.talk().contains("No space left on device"), "{full}");
    let _ = cfsctl(&["gc"]).success();
    std::fs::remove_file(&filler).unwrap();

    // What fits at the least, but probably not, is warned of and tried.
    fill(&filler, (free.f_bavail * free.f_frsize).saturating_sub(needed + 100_000));
    let tried = cfsctl(&pull);
    assert!(tried.talk().contains("this probably takes "), "{tried}");
    std::fs::remove_file(&filler).unwrap();
    let _ = cfsctl(&["oci", "pull", "--no-space-check", &reference, "one"]).success();
    // With all of it here there is nothing to have room for.
    fill(&filler, free.f_bavail * free.f_frsize);
    let _ = cfsctl(&pull).success();
}

#[test]
fn a_disk_without_inodes() {
    let sandbox = Sandbox::new(CFSCTL);
    let Some(disk) = Disk::or_skip(&sandbox, 64) else { return };
    let (reference, repo) = (layout(&sandbox), disk.at.join("repo"));
    let cfsctl = |arguments: &[&str]| cfsctl(&sandbox, "--progress=none", &repo, arguments);
    let _ = cfsctl(&["init", "--insecure"]).success();
    let empty = State::read(&repo);
    // In the middle of it: the files are more than anybody can know before.
    let full = cfsctl(&["oci", "pull", "--no-space-check", &reference, "one"]);
    assert_eq!(full.code(), 1, "{full}");
    assert!(full.talk().contains("No space left on device"), "{full}");
    assert!(full.talk().contains("hint: free some space"), "{full}");
    let _ = cfsctl(&["fsck", "--deep"]).success();
    let _ = cfsctl(&["gc"]).success();
    assert_eq!(State::read(&repo).files_other_than(&empty), "");
    // Before it starts.
    let left = rustix::fs::statvfs(&disk.at).unwrap().f_favail;
    for n in 0..left - 3 {
        File::create(disk.at.join(format!("filler{n}"))).unwrap();
    }
    let refused = cfsctl(&["oci", "pull", &reference, "one"]);
    assert_eq!(refused.code(), 1, "{refused}");
    assert!(refused.talk().contains("files at least, and there is room for 3"), "{refused}");
}
