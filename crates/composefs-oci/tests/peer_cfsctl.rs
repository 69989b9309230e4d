//! Random images, pulled by cfsctl 0.9 and by us: same ids, same objects, and each takes the other's repository.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use composefs::{
    digest::Algorithm,
    erofs::FormatVersion,
    progress::Silent,
    repo::{CheckOptions, ErofsFormats, IngestStats, InitOptions, OpenOptions, Repository, Writer, init},
};
use composefs_oci::{
    pull::{PullOptions, Pulled, pull},
    rootfs::{RootfsOptions, image::image_id, tree},
    stored::{StoredImage, check, tags},
    transport,
};
use composefs_testkit::{
    images::{Compression, Image, Layer, Layout},
    peers,
    tars::{Meta, TarBuilder},
};
use rustix::fs::CWD;
use tempfile::TempDir;

/// Numbers that look random and are the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % limit
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// What the layers so far hold: path to whether it is a directory.
type Tree = BTreeMap<String, bool>;

fn remove(tree: &mut Tree, path: &str) {
    let below = format!("{path}/");
    tree.retain(|name, _| name != path && !name.starts_with(&below));
}

fn of_kind(tree: &Tree, directory: bool) -> Vec<String> {
    tree.iter().filter(|(_, is)| **is == directory).map(|(path, _)| path.clone()).collect()
}

fn meta(dice: &mut Dice) -> Meta {
    Meta {
        mode: dice.of(&[0o644, 0o755, 0o600, 0o4755, 0o1777, 0]),
        uid: dice.of(&[0, 0, 1000, 65_534, 2_000_000]),
        gid: dice.of(&[0, 0, 5, 1000]),
        mtime: dice.of(&[0, 1, 1_700_000_000, 4_294_967_295, 8_589_934_591]),
    }
}

/// Attributes and times in PAX records, for the member that follows.
fn extras(mut tar: TarBuilder, dice: &mut Dice) -> TarBuilder {
    if dice.one_in(4) {
        tar = tar.xattr("security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    }
    if dice.one_in(5) {
        tar = tar.xattr("user.note", "kept by nobody").xattr("trusted.overlay.opaque", "y");
    }
    if dice.one_in(4) {
        tar = tar.pax("mtime", dice.of(&["1.5", "1700000000.123456789", "12"]));
    }
    tar
}

fn file(dice: &mut Dice) -> Vec<u8> {
    let length = dice.of(&[0, 1, 63, 64, 65, 100, 511, 512, 513, 4095, 4096, 4097, 70_000, 300_000]);
    let seed = dice.below(7) as u8;
    (0..length).map(|at: usize| (at >> 4) as u8 ^ seed).collect()
}

/// A layer that upstream accepts over `tree`: parents have entries, whiteouts come first.
fn layer(dice: &mut Dice, tree: &mut Tree, first: bool) -> Layer {
    let mut tar = TarBuilder::new();
    if first {
        for directory in ["usr", "run", "etc"] {
            tar = extras(tar, dice).dir_with(directory, meta(dice));
            tree.insert(directory.to_owned(), true);
        }
    } else {
        for _ in 0..dice.below(3) {
            let all: Vec<String> = tree.keys().filter(|path| path.contains('/')).cloned().collect();
            if !all.is_empty() {
                let gone = dice.of(&all);
                tar = tar.whiteout(&gone);
                remove(tree, &gone);
            }
        }
        if dice.one_in(3) {
            let opaque = dice.of(&of_kind(tree, true));
            tar = tar.opaque(&opaque);
            let below = format!("{opaque}/");
            tree.retain(|path, _| !path.starts_with(&below));
        }
    }
    for number in 0..4 + dice.below(20) {
        let parent = dice.of(&of_kind(tree, true));
        let long = if dice.one_in(6) { "-long".repeat(25) } else { String::new() };
        let name =
            format!("{parent}/{}{long}", dice.of(&["a", "b", "c", "d e", "\u{e9}", ".hidden", "z=\\"]));
        match dice.below(9) {
            0 | 1 => {
                if tree.get(&name) != Some(&true) {
                    remove(tree, &name);
                }
                tar = extras(tar, dice).dir_with(&name, meta(dice));
                tree.insert(name, true);
                continue;
            }
            2 => {
                tar = tar.symlink(&name, &dice.of(&["target".to_owned(), "/".to_owned(), "../x".repeat(40)]));
            }
            3 => tar = tar.char_device(&name, dice.of(&[1, 5, 4095]), dice.of(&[0, 3, 255, 1_048_575])),
            4 => tar = tar.fifo(&name),
            5 if number > 2 => {
                let below = format!("{name}/");
                let targets: Vec<String> =
                    of_kind(tree, false).into_iter().filter(|path| !path.starts_with(&below)).collect();
                if targets.is_empty() {
                    continue;
                }
                tar = tar.hardlink(&name, &dice.of(&targets));
            }
            _ => {
                let contents = file(dice);
                tar = extras(tar, dice).file_with(&name, contents, meta(dice));
            }
        }
        remove(tree, &name);
        tree.insert(name, false);
    }
    Layer::new(tar.finish(), dice.of(&[Compression::Plain, Compression::Gzip, Compression::Zstd]))
}

fn images(dice: &mut Dice, layout: &mut Layout, count: usize) -> Vec<String> {
    let mut tags = Vec::new();
    let mut base: Option<(Layer, Tree)> = None;
    for number in 0..count {
        let mut tree = Tree::new();
        let mut layers = Vec::new();
        match &base {
            // Images share their lowest layer now and then.
            Some((shared, below)) if dice.one_in(2) => {
                layers.push(shared.clone());
                tree.clone_from(below);
            }
            _ => {
                layers.push(layer(dice, &mut tree, true));
                base = Some((layers[0].clone(), tree.clone()));
            }
        }
        for _ in 0..dice.below(4) {
            layers.push(layer(dice, &mut tree, false));
        }
        let tag = format!("image-{number}");
        layout.image(
            &tag,
            &Image::new(layers)
                .platform(&composefs_oci::model::platform::Platform::native().architecture, None),
        );
        tags.push(tag);
    }
    tags
}

fn cfsctl(program: &Path, repo: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .arg("--repo")
        .arg(repo)
        .args(arguments)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}{errors}");
    text
}

fn open(repo: &Path) -> Writer {
    Repository::open(CWD, repo, &OpenOptions::default()).unwrap().into_writer().unwrap()
}

fn ours(writer: &Writer, layout: &Layout, tag: &str) -> Pulled {
    let source =
        transport::open(&layout.reference(tag).parse().unwrap(), &transport::SourceOptions::default())
            .unwrap();
    pull(writer, source.as_ref(), &PullOptions::default().tag(tag), &Silent)
        .unwrap_or_else(|error| panic!("{tag}: {error:?}"))
}

fn objects(repo: &Path) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for directory in std::fs::read_dir(repo.join("objects")).unwrap() {
        let directory = directory.unwrap();
        for object in std::fs::read_dir(directory.path()).unwrap() {
            let name = object.unwrap().file_name().into_string().unwrap();
            ids.insert(format!("{}{name}", directory.file_name().to_str().unwrap()));
        }
    }
    ids
}

/// Checks a repository with both programs, in both depths.
fn both_are_happy(program: &Path, repo: &Path, tags: &[String]) {
    assert!(cfsctl(program, repo, &["fsck"]).ends_with("status: ok\n"));
    let text = cfsctl(program, repo, &["oci", "fsck"]);
    assert!(!text.contains("fsck: ") || text.contains("ok"), "{text}");
    let listed = cfsctl(program, repo, &["oci", "images"]);
    for tag in tags {
        assert!(listed.contains(tag.as_str()), "{tag}: {listed}");
    }
    let writer = open(repo);
    let report = writer.check(&CheckOptions::default().deep(true), &Silent).unwrap();
    assert!(report.is_ok(), "{:?}", report.findings);
    let report = check::check(&writer, None).unwrap();
    assert!(report.is_ok(), "{:?}", report.findings);
    assert_eq!(report.images_checked, tags.len() as u64);
    let listed: Vec<_> = tags::list(&writer).unwrap().into_iter().map(|tag| tag.name).collect();
    assert_eq!(listed, tags);
}

/// The id that we compute from a repository's layers, whoever stored them.
fn computed(writer: &Writer, tag: &str, version: FormatVersion) -> String {
    let image = StoredImage::open_tag(writer, tag).unwrap();
    let layers = image.config().layers().unwrap();
    let tree = tree(writer, image.config().digest(), &layers, &RootfsOptions::default()).unwrap();
    image_id(&tree, version, writer.algorithm()).unwrap().to_hex()
}

fn compare(program: &Path, seed: u64, algorithm: Algorithm, version: FormatVersion) {
    let dir = TempDir::new().unwrap();
    let mut layout = Layout::create(dir.path().join("layout"));
    let tags = images(&mut Dice(seed), &mut layout, 6);

    let theirs = dir.path().join("theirs");
    let name = if algorithm == Algorithm::Sha256 { "fsverity-sha256-12" } else { "fsverity-sha512-12" };
    let format = if version == FormatVersion::V2 { "2" } else { "1" };
    cfsctl(program, &theirs, &["init", "--insecure", "--algorithm", name, "--erofs-version", format]);
    let mine = dir.path().join("mine");
    let options = InitOptions::new(algorithm).erofs(ErofsFormats::only(version)).insecure(true);
    init(CWD, &mine, &options).unwrap();
    let writer = open(&mine);

    for tag in &tags {
        let pulled = ours(&writer, &layout, tag);
        let printed = cfsctl(program, &theirs, &["oci", "pull", &layout.reference(tag), tag]);
        assert!(printed.contains(pulled.config.as_str()), "{seed} {tag}: {printed}");
        let id = pulled.images[0].1.to_hex();
        for repo in [&theirs, &mine] {
            let computed = cfsctl(program, repo, &["oci", "compute-id", tag]);
            assert!(computed.contains(&id), "{seed} {tag}: {id}, not {computed}");
        }
        assert_eq!(computed(&writer, tag, version), id, "{seed} {tag}");
        assert_eq!(computed(&open(&theirs), tag, version), id, "{seed} {tag}");
    }
    drop(writer);
    both_are_happy(program, &theirs, &tags);
    both_are_happy(program, &mine, &tags);

    let [a, b] = [&mine, &theirs].map(|repo| open(repo).image_entries().unwrap());
    assert_eq!(a, b, "{seed}: images");
    // All else is equal but the manifests' streams (random upstream with two layers), and upstream's two streams
    // of each image from before its id was recorded.
    let manifests = open(&mine)
        .stream_entries()
        .unwrap()
        .into_iter()
        .filter(|(name, _)| name.as_str().starts_with("oci-manifest-"))
        .map(|(_, id)| id.to_hex())
        .collect::<BTreeSet<_>>();
    let extra: Vec<_> =
        objects(&mine).difference(&objects(&theirs)).filter(|id| !manifests.contains(*id)).cloned().collect();
    assert_eq!(extra, [""; 0], "{seed}: objects upstream has not");
    let lacking = objects(&theirs).difference(&objects(&mine)).count();
    assert!(lacking <= tags.len() * 3, "{seed}: {lacking} objects that we have not");

    // In each other's repository a pull of what is there stores nothing of its own.
    let writer = open(&theirs);
    for tag in &tags {
        let again = ours(&writer, &layout, tag);
        assert_eq!(again.objects, IngestStats::default(), "{seed} {tag}");
    }
    drop(writer);
    let before = objects(&mine);
    for tag in &tags {
        cfsctl(program, &mine, &["oci", "pull", &layout.reference(tag), tag]);
    }
    let new: Vec<_> = objects(&mine).difference(&before).cloned().collect();
    assert!(new.len() <= tags.len() * 2, "{seed}: {new:?}");
    both_are_happy(program, &theirs, &tags);
    both_are_happy(program, &mine, &tags);
}

#[test]
fn random_images_have_the_same_ids() {
    let Some(program) = peers::cfsctl_or_skip() else { return };
    let all = [
        (Algorithm::Sha256, FormatVersion::V1),
        (Algorithm::Sha512, FormatVersion::V1),
        (Algorithm::Sha256, FormatVersion::V2),
        (Algorithm::Sha512, FormatVersion::V2),
    ];
    // More of them on request: each seed is six images.
    let rounds = std::env::var("COMPOSEFS_TEST_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for round in 0..rounds {
        for (number, (algorithm, version)) in all.into_iter().enumerate() {
            compare(&program, round * 4 + number as u64, algorithm, version);
        }
    }
}
