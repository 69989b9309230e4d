//! Images in stores that skopeo and podman filled, compared with the layout they were copied from.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs
)]

use std::{
    io::Read as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use composefs::{
    digest::Algorithm,
    progress::Silent,
    repo::{CheckOptions, IngestStats, InitOptions, OpenOptions, Repository, Writer, init},
};
use composefs_oci::{
    Error,
    environment::Environment,
    import::Sharing,
    pull::{PullOptions, Pulled, pull},
    transport::{self, Source, SourceOptions, containers_storage::StorageError},
};
use composefs_testkit::{
    chain,
    images::{Compression, Image, Layer, Layout, noise, sha256},
    peers, require,
    tars::{Meta, TarBuilder},
};
use rustix::{
    fs::{CWD, XattrFlags},
    mount::UnmountFlags,
};
use tar::EntryType;
use tempfile::TempDir;

/// A layout, stores filled from it, and repositories to pull into.
struct Lab {
    dir: TempDir,
    layout: Layout,
    repositories: std::cell::Cell<usize>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The overlay driver leaves a mount of its directory on itself.
        let _ = rustix::mount::unmount(self.path("overlay/overlay"), UnmountFlags::DETACH);
    }
}

impl Lab {
    fn new() -> Self {
        Self::in_dir(TempDir::new().unwrap())
    }

    fn below(parent: &Path) -> Self {
        Self::in_dir(TempDir::new_in(parent).unwrap())
    }

    fn in_dir(dir: TempDir) -> Self {
        let layout = Layout::create(dir.path().join("layout"));
        Self { dir, layout, repositories: std::cell::Cell::new(0) }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// The brackets of a store, one for each driver.
    fn store(&self, driver: &str) -> String {
        format!("[{driver}@{}+{}]", self.path(driver).display(), self.path("run").display())
    }

    /// Copies a tag of the layout to a store; `None` skips the test.
    fn fill(&self, driver: &str, tag: &str, name: &str, more: &[&str]) -> Option<String> {
        peers::skopeo_or_skip()?;
        let reference = format!("containers-storage:{}{name}", self.store(driver));
        if !run(Command::new("skopeo")
            .args(more)
            .args(["--insecure-policy", "copy", "-q"])
            .args([&self.layout.reference(tag), &reference]))
        {
            require::skip(&format!("needs a skopeo that can fill a store of the driver {driver}"));
            return None;
        }
        Some(reference)
    }

    fn pull_with(&self, reference: &str, environment: Environment) -> Result<Pulled, Error> {
        let source = open_with(reference, environment)?;
        let number = self.repositories.replace(self.repositories.get() + 1);
        pull(
            &self.writer(&format!("repo{number}")),
            source.as_ref(),
            &PullOptions::default().tag("x"),
            &Silent,
        )
    }

    fn pull(&self, reference: &str) -> Result<Pulled, Error> {
        self.pull_with(reference, Environment::default().uid(0))
    }

    fn writer(&self, name: &str) -> Writer {
        let path = self.path(name);
        init(CWD, &path, &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
        Repository::open(CWD, &path, &OpenOptions::default()).unwrap().into_writer().unwrap()
    }

    /// Pulls an image from the layout and from a store, and checks that both are the same.
    fn same(&self, tag: &str, reference: &str) -> Pulled {
        let expected = self.pull(&self.layout.reference(tag)).unwrap();
        let pulled = self.pull(reference).unwrap_or_else(|error| panic!("{reference}: {}", chain(&error)));
        assert_eq!(pulled.manifest, expected.manifest, "{reference}");
        assert_eq!(pulled.config, expected.config, "{reference}");
        assert_eq!(pulled.verity, expected.verity, "{reference}");
        assert_eq!(pulled.images, expected.images, "{reference}");
        // Where store and repository can share blocks, they do.
        let objects = IngestStats { shared: 0, shared_bytes: 0, ..pulled.objects };
        assert_eq!(objects, expected.objects, "{reference}");
        pulled
    }
}

fn run(command: &mut Command) -> bool {
    let output = command.stdin(Stdio::null()).output().unwrap();
    if !output.status.success() {
        eprintln!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

fn open_with(reference: &str, environment: Environment) -> Result<Box<dyn Source>, Error> {
    transport::open(&reference.parse()?, &SourceOptions::default().environment(environment))
}

fn open(reference: &str) -> Result<Box<dyn Source>, Error> {
    open_with(reference, Environment::default().uid(0))
}

/// Layers with what is odd and what containers/storage takes.
fn odd_layers() -> [Vec<u8>; 3] {
    let long = format!("usr/{}/{}", "d".repeat(90), "n".repeat(180));
    let meta = |mode| Meta { mode, ..Meta::default() };
    let first = TarBuilder::new()
        .dir("usr")
        .file("usr/a", "hello".repeat(100))
        .hardlink("usr/hard", "usr/a")
        .file("usr/empty", "")
        .xattr("user.note", "a\0b")
        .file("usr/x", "x")
        .xattr("security.capability", [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .file_with("usr/suid", "suid", meta(0o4755))
        .file_with("usr/none", "none", meta(0))
        .symlink("usr/link", "/etc/passwd")
        .dir(&format!("usr/{}", "d".repeat(90)))
        .file(&long, "long")
        .char_device("usr/null", 1, 3)
        .fifo("usr/fifo")
        .member(EntryType::Regular, b"usr/\xff\xfe", b"", meta(0o644), b"no text")
        .file("./usr/dot", "dot")
        .file("usr/gone", "gone")
        .file("usr/big", noise(1, 1_500_000))
        .dir("opq")
        .file("opq/below", "below")
        .symlink("lib", "usr/lib")
        .dir("usr/lib")
        .finish();
    let second = TarBuilder::new()
        .whiteout("usr/gone")
        .file("usr/a", "another")
        .dir("opq")
        .opaque("opq")
        .file("opq/above", "above")
        .dir("usr/lib")
        .file("usr/lib/x", "x")
        .finish();
    // Padding to a record, as tar writes it, and more.
    let mut third = TarBuilder::new().mtime(1_600_000_000).file("usr/b", noise(1, 70_000)).finish();
    third.resize(300 * 512, 0);
    [first, second, third]
}

#[test]
fn odd_layers_come_out_as_they_went_in() {
    let mut lab = Lab::new();
    let compressions = [Compression::Gzip, Compression::Plain, Compression::Zstd];
    let layers = odd_layers().into_iter().zip(compressions).map(|(tar, how)| Layer::new(tar, how));
    lab.layout.image("odd", &Image::new(layers));
    for driver in ["overlay", "vfs"] {
        let Some(reference) = lab.fill(driver, "odd", "localhost/odd:v1", &[]) else { continue };
        lab.same("odd", &reference);
        // Whoever holds a layer's reader holds the store.
        let source = open(&reference).unwrap();
        let layers = layers_of(source.as_ref());
        let mut tar = Vec::new();
        let mut blob = source.blob(&layers[0]).unwrap();
        blob.read_to_end(&mut tar).unwrap();
        assert_eq!(tar, odd_layers()[0]);
        if peers::program_or_skip("python3").is_some() {
            let lock = lab.path(&format!("{driver}/{driver}-layers/layers.lock"));
            assert!(!can_write(&lock));
            drop(blob);
            assert!(can_write(&lock));
        }
    }
}

/// The descriptors of the layers as they are kept.
fn layers_of(source: &dyn Source) -> Vec<composefs_oci::model::Descriptor> {
    let manifest = source.root().unwrap().bytes;
    let manifest = composefs_oci::model::Manifest::parse(manifest).unwrap();
    manifest.layers().iter().map(|layer| source.kept_as(layer).unwrap().unwrap()).collect()
}

fn can_write(lock: &Path) -> bool {
    let script = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)";
    Command::new("python3").args(["-c", script]).arg(lock).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn names_and_ids() {
    let mut lab = Lab::new();
    let image = Image::new([Layer::new(TarBuilder::new().file("x", "x").finish(), Compression::Gzip)]);
    let written = lab.layout.image("one", &image);
    let Some(_) = lab.fill("vfs", "one", "localhost/app:v1", &[]) else { return };
    let store = lab.store("vfs");
    let id = written.config.digest.strip_prefix("sha256:").unwrap();
    let digest = &written.manifest.digest;
    for name in [
        "localhost/app:v1".to_owned(),
        "app:v1".to_owned(),
        format!("localhost/app@{digest}"),
        id.to_owned(),
        id[..12].to_owned(),
        format!("@{id}"),
        format!("sha256:{id}"),
        format!("localhost/app:v1@{}", &id[..8]),
    ] {
        let source = open(&format!("containers-storage:{store}{name}"));
        let root = source.unwrap_or_else(|error| panic!("{name}: {}", chain(&error))).root().unwrap();
        assert_eq!(root.digest.as_str(), digest, "{name}");
    }
    for name in ["app", "quay.io/app:v1", "ffffffff", "@ffffffff"] {
        let error = open(&format!("containers-storage:{store}{name}")).err().unwrap();
        assert!(matches!(error, Error::NoSuchImage { .. }), "{error}");
        assert_eq!(error.hint().unwrap(), "there are: localhost/app:v1");
    }
    let nowhere = format!("containers-storage:[vfs@{}]x", lab.path("nowhere").display());
    let error = open(&nowhere).err().unwrap();
    assert!(chain(&error).ends_with("nowhere: there is no store"), "{}", chain(&error));
}

#[test]
fn stores_are_found_as_podman_finds_them() {
    let mut lab = Lab::new();
    let image = Image::new([Layer::new(TarBuilder::new().file("x", "x").finish(), Compression::Gzip)]);
    lab.layout.image("one", &image);
    let Some(_) = lab.fill("vfs", "one", "localhost/app:v1", &[]) else { return };
    let more = Environment::default()
        .uid(1000)
        .variable("HOME", lab.path("home"))
        .variable("STORAGE_OPTS", format!("additionalimagestore={}", lab.path("vfs").display()));
    let pulled = lab.pull_with("containers-storage:localhost/app:v1", more).unwrap();
    let conf = format!("[storage]\ndriver = 'vfs'\ngraphroot = '{}'\n", lab.path("vfs").display());
    std::fs::create_dir_all(lab.path("home/.config/containers")).unwrap();
    std::fs::write(lab.path("home/.config/containers/storage.conf"), conf).unwrap();
    let home = Environment::default().uid(1000).variable("HOME", lab.path("home"));
    let again = lab.pull_with("containers-storage:localhost/app:v1", home).unwrap();
    assert_eq!(again.images, pulled.images);
}

#[test]
fn images_out_of_an_index() {
    let mut lab = Lab::new();
    let layer = |text: &str| Layer::new(TarBuilder::new().file("x", text).finish(), Compression::Plain);
    let images = [
        Image::new([layer("one")]).platform("amd64", None),
        Image::new([layer("two")]).platform("arm64", None),
    ];
    let written: Vec<_> = images.iter().map(|image| lab.layout.write(image)).collect();
    let index = lab.layout.index("multi", &written);
    let Some(one) = lab.fill("vfs", "multi", "localhost/multi:one", &["--override-arch=amd64"]) else {
        return;
    };
    let Some(two) = lab.fill("vfs", "multi", "localhost/multi:two", &["--override-arch=arm64"]) else {
        return;
    };
    // The store keeps what was chosen as the image's manifest, though it is known by the index's digest, too.
    let root = open(&one).unwrap().root().unwrap();
    assert_eq!(root.digest.as_str(), written[0].manifest.digest);
    let by_index = format!("containers-storage:{}localhost/multi@{}", lab.store("vfs"), index.digest);
    let source = open(&by_index).unwrap();
    assert_eq!(source.root().unwrap().digest.as_str(), index.digest);
    for (image, platform) in written.iter().zip(["linux/amd64", "linux/arm64"]) {
        let chosen = source.manifest(&platform.parse().unwrap()).unwrap();
        assert_eq!(chosen.digest.as_str(), image.manifest.digest);
        let manifest = composefs_oci::model::Manifest::parse(chosen.bytes).unwrap();
        let kept = source.kept_as(&manifest.layers()[0]).unwrap().unwrap();
        assert_eq!(kept.digest().as_ref(), image.diff_ids[0]);
    }
    // An image for another machine is taken when it is named, and said to be one; not if yet another was asked for.
    let native = composefs_oci::model::platform::Platform::native();
    let (other, what) = if native.architecture == "amd64" { (&two, "arm64") } else { (&one, "amd64") };
    let chosen = open(other).unwrap().manifest(&native).unwrap();
    assert!(chosen.warning.unwrap().contains(what));
    let refused = open(&one).unwrap().manifest(&"linux/riscv64".parse().unwrap());
    assert!(matches!(refused, Err(Error::NoSuchImage { .. })), "{refused:?}");
}

#[test]
fn dockers_manifests_are_kept() {
    let mut lab = Lab::new();
    let tar = TarBuilder::new().file("x", "x").finish();
    lab.layout.image("one", &Image::new([Layer::new(tar, Compression::Gzip)]));
    if peers::skopeo_or_skip().is_none() {
        return;
    }
    let dir = format!("dir:{}", lab.path("docker").display());
    let store = format!("containers-storage:{}localhost/docker:v1", lab.store("vfs"));
    let copy = |arguments: &[&str]| {
        run(Command::new("skopeo").args(["--insecure-policy", "copy", "-q"]).args(arguments))
    };
    assert!(copy(&["--format=v2s2", &lab.layout.reference("one"), &dir]));
    assert!(copy(&[&dir, &store]));
    let manifest = std::fs::read(lab.path("docker/manifest.json")).unwrap();
    let pulled = lab.pull(&store).unwrap();
    assert_eq!(pulled.manifest.as_str(), sha256(&manifest));
    let expected = lab.pull(&lab.layout.reference("one")).unwrap();
    assert_eq!(pulled.objects.new, expected.objects.new);
}

/// Where the files of the only layer of `[overlay@…]` are.
fn only_layer(lab: &Lab) -> (String, PathBuf) {
    let layers = std::fs::read_to_string(lab.path("overlay/overlay-layers/layers.json")).unwrap();
    let layers: serde_json::Value = serde_json::from_str(&layers).unwrap();
    let id = layers[0]["id"].as_str().unwrap().to_owned();
    let diff = lab.path(&format!("overlay/overlay/{id}/diff"));
    (id, diff)
}

#[test]
fn damage_is_named() {
    let mut lab = Lab::new();
    let tar = TarBuilder::new().dir("usr").file("usr/a", "aaaa").file("usr/b", "bbbb").finish();
    lab.layout.image("one", &Image::new([Layer::new(tar, Compression::Gzip)]));
    let Some(reference) = lab.fill("overlay", "one", "localhost/app:v1", &[]) else { return };
    lab.same("one", &reference);
    let (id, diff) = only_layer(&lab);
    let file = diff.join("usr/a");
    let fault = || {
        let error = lab.pull(&reference).unwrap_err();
        (chain(&error), error.hint())
    };

    std::fs::write(&file, "AAAA").unwrap();
    let (text, hint) = fault();
    assert!(text.ends_with("the contents of usr/a are not those that were stored"), "{text}");
    assert!(hint.unwrap().contains("altered in the store"));
    if rustix::fs::setxattr(&file, "trusted.overlay.metacopy", b"", XattrFlags::empty()).is_ok() {
        assert!(fault().0.contains("usr/a has metadata only"), "{}", fault().0);
    }
    std::fs::write(&file, "aaaaa").unwrap();
    assert!(fault().0.ends_with("usr/a has 5 bytes; there were 4 when the layer was stored"));
    std::fs::remove_file(&file).unwrap();
    assert!(fault().0.contains("usr/a: No such file"), "{}", fault().0);
    std::fs::write(lab.path("secret"), "aaaa").unwrap();
    symlink(lab.path("secret"), &file).unwrap();
    assert!(fault().0.ends_with("usr/a should be a regular file and is a symlink"));
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(diff.join("usr"), diff.join("moved")).unwrap();
    symlink(lab.path("out"), diff.join("usr")).unwrap();
    std::fs::create_dir(lab.path("out")).unwrap();
    std::fs::write(lab.path("out/a"), "aaaa").unwrap();
    assert!(fault().0.contains("usr/a: No such file"), "{}", fault().0);

    let tar_split = lab.path(&format!("overlay/overlay-layers/{id}.tar-split.gz"));
    std::fs::remove_file(tar_split).unwrap();
    let (text, hint) = fault();
    assert!(text.ends_with(&format!("the store has no tar-split of layer {id}")), "{text}");
    assert!(hint.unwrap().contains("registry"));

    std::fs::write(lab.path("overlay/overlay-layers/layers.json"), "[]").unwrap();
    assert!(fault().0.ends_with(&format!("layer {id} of the image is not in the store")), "{}", fault().0);
    std::fs::write(lab.path("overlay/overlay-layers/layers.json"), "[").unwrap();
    assert!(fault().0.contains("layers.json: not a valid record of a store"), "{}", fault().0);
}

#[test]
fn sparse_files_are_refused() {
    let mut lab = Lab::new();
    // PAX 1.0: the map stands before the data.
    let mut data = b"1\n1024\n512\n".to_vec();
    data.resize(512, 0);
    data.extend([b'x'; 512]);
    let tar = TarBuilder::new()
        .pax("GNU.sparse.major", "1")
        .pax("GNU.sparse.minor", "0")
        .pax("GNU.sparse.name", "sparse")
        .pax("GNU.sparse.realsize", "1536")
        .file("GNUSparseFile.0/sparse", data)
        .finish();
    lab.layout.image("one", &Image::new([Layer::new(tar, Compression::Gzip)]));
    let Some(reference) = lab.fill("vfs", "one", "localhost/app:v1", &[]) else { return };
    let error = lab.pull(&reference).unwrap_err();
    assert!(chain(&error).contains("sparse is sparse in the layer's tar"), "{}", chain(&error));
}

#[test]
fn other_drivers_are_told_apart() {
    let lab = Lab::new();
    std::fs::create_dir_all(lab.path("zfs/zfs-images")).unwrap();
    let error = composefs_oci::transport::containers_storage::ContainersStorage::open(
        &composefs_oci::reference::InStorage::parse(&format!("{}x", lab.store("zfs"))).unwrap(),
        &Environment::default(),
    );
    let error = error.err().unwrap();
    assert!(matches!(&error, Error::Storage { source: StorageError::Driver(name), .. } if name == "zfs"));
}

/// A file system of its own, on a loop device; `None` skips the test.
struct Mounted(PathBuf);

impl Mounted {
    fn new(dir: &Path, make: &str, arguments: &[&str]) -> Option<Self> {
        let program = peers::program_or_skip(make)?;
        let (image, at) = (dir.join(format!("{make}.img")), dir.join(make));
        std::fs::File::create(&image).unwrap().set_len(320 << 20).unwrap();
        std::fs::create_dir(&at).unwrap();
        let made = run(Command::new(program).args(arguments).arg(&image));
        if !made || !run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at)) {
            require::skip(&format!("needs a loop device, and a kernel that mounts what {make} makes"));
            return None;
        }
        Some(Self(at))
    }

    fn used_bytes(&self) -> u64 {
        rustix::fs::sync();
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn files_share_their_blocks() {
    const LARGE: usize = 8 << 20;
    let dir = TempDir::new().unwrap();
    for (make, arguments) in [("mkfs.xfs", &["-q", "-m", "reflink=1"][..]), ("mkfs.btrfs", &["-q"])] {
        let Some(mounted) = Mounted::new(dir.path(), make, arguments) else { return };
        let mut lab = Lab::below(&mounted.0);
        let tar = TarBuilder::new()
            .dir("usr")
            .file("usr/small", noise(1, 4000))
            .file("usr/medium", noise(1, 100_000))
            .file("usr/large", noise(1, LARGE))
            .hardlink("usr/other", "usr/large")
            .file("usr/empty", "")
            .finish();
        let tar = [tar, vec![0; 512]].concat();
        lab.layout.image("one", &Image::new([Layer::new(tar, Compression::Gzip)]));
        let Some(reference) = lab.fill("vfs", "one", "localhost/app:v1", &[]) else { return };
        let expected = lab.pull(&lab.layout.reference("one")).unwrap();

        let before = mounted.used_bytes();
        let repo = lab.path("shared");
        let options = InitOptions::new(Algorithm::Sha256);
        // Verified where this kernel's file system can be.
        if init(CWD, &repo, &options).is_err() {
            init(CWD, &repo, &options.insecure(true)).unwrap();
        }
        let writer = Repository::open(CWD, &repo, &OpenOptions::default()).unwrap().into_writer().unwrap();
        let options = PullOptions::default().tag("x").sharing(Sharing::Required);
        let pulled = pull(&writer, open(&reference).unwrap().as_ref(), &options, &Silent).unwrap();
        assert_eq!(pulled.images, expected.images, "{make}");
        let objects = pulled.objects;
        assert_eq!((objects.shared, objects.shared_bytes), (2, LARGE as u64 + 100_000), "{make}");
        assert_eq!((objects.new, objects.new_bytes), (expected.objects.new, expected.objects.new_bytes));
        let grown = mounted.used_bytes() - before;
        assert!(grown < LARGE as u64 / 2, "{make}: {grown} bytes more are used");

        // What becomes of the store's files is nothing to the objects.
        let layers = std::fs::read_dir(lab.path("vfs/vfs/dir")).unwrap();
        let layer = layers.map(|entry| entry.unwrap().path()).next().unwrap();
        let file = layer.join("usr/large");
        let mut contents = std::fs::read(&file).unwrap();
        contents[..10].fill(b'!');
        std::fs::write(&file, contents).unwrap();
        let report = writer.check(&CheckOptions::default().deep(true), &Silent).unwrap();
        assert!(report.is_ok(), "{make}: {:?}", report.findings);
        let error = lab.pull(&reference).unwrap_err();
        assert!(chain(&error).contains("usr/large"), "{make}: {}", chain(&error));

        // The store is on another file system than this repository.
        let elsewhere = Lab::new();
        let options = options.tag("y");
        let from = || open(&format!("containers-storage:{}localhost/app:v1", lab.store("vfs"))).unwrap();
        let error = pull(&elsewhere.writer("repo"), from().as_ref(), &options, &Silent).unwrap_err();
        assert!(chain(&error).contains("usr/medium cannot be taken without copying"), "{}", chain(&error));
        assert!(error.hint().unwrap().contains("one file system"));
    }
}
