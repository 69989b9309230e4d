//! A small family of images that share layers, files and configs, and what is known of each.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{LazyLock, Mutex},
};

use composefs::{
    digest::{Algorithm, ObjectId},
    erofs::FormatVersion,
    progress::Silent,
    repo::{ErofsFormats, InitOptions, OpenOptions, Repository, Writer, init},
};
use composefs_oci::{
    digest::ManifestDigest,
    pull::{PullOptions, pull},
    rootfs::Rules,
    seal,
    stored::StoredImage,
    transport,
};
use composefs_testkit::{
    images::{Compression, Image, Layer, Layout, noise, sha256},
    tars::TarBuilder,
};
use rustix::fs::CWD;
use serde_json::json;
use tempfile::TempDir;

/// An image of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Name {
    /// One layer.
    Base,
    /// Two: the second changes and removes files of the first.
    App,
    /// The same tars as `App` and so the same config, packed otherwise.
    AppZstd,
    /// `Base` and a layer with a file that is stored as it comes.
    Large,
    /// Everything, and an empty layer twice.
    All,
    /// `Base` by Docker's media types, with the same config's contents.
    Docker,
    /// For another platform.
    Arm,
    /// The same tars, packed otherwise.
    ArmZstd,
    /// No image: blobs, two of which have the bytes of layers.
    Artifact,
    /// An artifact about `App`.
    Signature,
}

impl Name {
    pub(crate) const EACH: [Self; 10] = [
        Self::Base,
        Self::App,
        Self::AppZstd,
        Self::Large,
        Self::All,
        Self::Docker,
        Self::Arm,
        Self::ArmZstd,
        Self::Artifact,
        Self::Signature,
    ];

    pub(crate) const fn is_container(self) -> bool {
        !matches!(self, Self::Artifact | Self::Signature)
    }

    const fn tag(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::App => "app",
            Self::AppZstd => "app-zstd",
            Self::Large => "large",
            Self::All => "all",
            Self::Docker => "docker",
            Self::Arm => "arm",
            Self::ArmZstd => "arm-zstd",
            Self::Artifact => "artifact",
            Self::Signature => "signature",
        }
    }
}

/// What the source is asked for: an image by itself, or by the index of `App` and `Arm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// One image.
    Image(Name),
    /// The index, for one of its two platforms.
    Index { arm: bool },
}

impl Of {
    /// The image that is unpacked.
    pub(crate) const fn image(self) -> Name {
        match self {
            Self::Image(name) => name,
            Self::Index { arm: true } => Name::Arm,
            Self::Index { arm: false } => Name::App,
        }
    }

    pub(crate) fn reference(self) -> String {
        let family = &*FAMILY;
        let tag = match self {
            Self::Image(name) => name.tag(),
            Self::Index { .. } => "index",
        };
        format!("oci:{}:{tag}", family.dir.path().join("layout").display())
    }

    pub(crate) fn platform(self) -> &'static str {
        if self.image() == Name::Arm || self.image() == Name::ArmZstd { "linux/arm64" } else { "linux/amd64" }
    }
}

/// The images that the index names.
pub(crate) const OF_INDEX: [Name; 2] = [Name::App, Name::Arm];

/// The family on disk.
pub(crate) struct Family {
    dir: TempDir,
    manifests: BTreeMap<Name, String>,
    /// The layers' diff_ids, of artifacts the blobs' digests, and the bytes that have these.
    layers: BTreeMap<Name, Vec<(String, Vec<u8>)>>,
    pub(crate) index: String,
}

pub(crate) static FAMILY: LazyLock<Family> = LazyLock::new(Family::new);

fn lower() -> Vec<u8> {
    TarBuilder::new()
        .dir("etc")
        .file("etc/inline", "short\n")
        .file("etc/gone", noise(1, 700))
        .dir("usr")
        .file("usr/shared", noise(2, 5_000))
        .file("usr/changed", noise(3, 900))
        .symlink("usr/link", "shared")
        .hardlink("usr/hard", "usr/shared")
        .finish()
}

fn upper() -> Vec<u8> {
    TarBuilder::new()
        .whiteout("etc/gone")
        .file("usr/changed", noise(4, 1_100))
        .file("usr/again", noise(2, 5_000))
        .file("usr/own", noise(5, 300))
        .xattr("user.note", "x")
        .finish()
}

/// A file above the bound up to which files travel in batches, and enough for a layer on several threads.
fn large() -> Vec<u8> {
    TarBuilder::new()
        .dir("opt")
        .file("opt/large", noise(6, 1_100_000))
        .file("opt/small", noise(7, 80))
        .finish()
}

impl Family {
    fn new() -> Self {
        let dir = TempDir::new_in(place()).unwrap();
        let mut layout = Layout::create(dir.path().join("layout"));
        let (lower, upper, large) = (lower(), upper(), large());
        let arm =
            TarBuilder::new().dir("usr").file("usr/arm", noise(8, 400)).file("usr/shared", noise(2, 5_000));
        let arm = arm.finish();
        let empty = Layer::new(vec![0; 1024], Compression::Gzip);
        let layer = |tar: &[u8], how| Layer::new(tar.to_vec(), how);
        let base = || layer(&lower, Compression::Gzip);
        let blob = |bytes: &[u8], media_type: &str| Layer::packed(bytes.to_vec(), bytes.to_vec(), media_type);
        let app = Image::new([base(), layer(&upper, Compression::Zstd)]);
        let subject = layout.write(&app).manifest;
        let images = [
            (Name::Base, Image::new([base()])),
            (Name::App, app),
            (
                Name::AppZstd,
                Image::new([layer(&lower, Compression::Zstd), layer(&upper, Compression::Plain)]),
            ),
            (Name::Large, Image::new([base(), layer(&large, Compression::Gzip)])),
            (
                Name::All,
                Image::new([
                    base(),
                    empty.clone(),
                    layer(&upper, Compression::Gzip),
                    layer(&large, Compression::Plain),
                    empty,
                ])
                .config("Labels", json!({"name": "all"})),
            ),
            (Name::Docker, Image::new([base()]).docker()),
            (Name::Arm, Image::new([base(), layer(&arm, Compression::Gzip)]).platform("arm64", None)),
            (
                Name::ArmZstd,
                Image::new([layer(&lower, Compression::Zstd), layer(&arm, Compression::Zstd)])
                    .platform("arm64", None),
            ),
            (
                Name::Artifact,
                Image::artifact(
                    "application/x-test",
                    [
                        blob(&lower, Compression::Plain.media_type()),
                        blob(&upper, "application/octet-stream"),
                        blob(&noise(2, 5_000), "application/octet-stream"),
                        blob(b"few bytes", "text/plain"),
                    ],
                ),
            ),
            (
                Name::Signature,
                Image::artifact("application/x-signature", [blob(b"signed", "text/plain")])
                    .manifest("subject", subject.json()),
            ),
        ];
        let (mut manifests, mut layers, mut written) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (name, image) in images {
            let one = layout.image(name.tag(), &image);
            manifests.insert(name, one.manifest.digest.clone());
            let key = |layer: Layer| {
                if name.is_container() { (layer.diff_id, layer.tar) } else { (layer.digest, layer.blob) }
            };
            layers.insert(name, image.layers.into_iter().map(key).collect());
            written.insert(name, one);
        }
        let index = layout.index("index", &OF_INDEX.map(|name| written[&name].clone())).digest;
        Self { dir, manifests, layers, index }
    }

    pub(crate) fn manifest(&self, name: Name) -> &str {
        &self.manifests[&name]
    }

    pub(crate) fn layers(&self, name: Name) -> &[(String, Vec<u8>)] {
        &self.layers[&name]
    }
}

/// Memory where there is such a file system: thousands of syncs are for the disks of others.
pub(crate) fn place() -> std::path::PathBuf {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// A kind of repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) sha512: bool,
    /// Both formats of images instead of one.
    pub(crate) both_formats: bool,
}

impl Kind {
    pub(crate) const fn algorithm(self) -> Algorithm {
        if self.sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 }
    }

    pub(crate) fn init(self, path: &std::path::Path) {
        let mut formats = ErofsFormats::only(FormatVersion::V1);
        if self.both_formats {
            formats = formats.with_extra(FormatVersion::V2);
        }
        let options = InitOptions::new(self.algorithm()).erofs(formats);
        // With fs-verity where the file system has it.
        if init(CWD, path, &options).is_err() {
            init(CWD, path, &options.insecure(true)).unwrap();
        }
    }
}

pub(crate) fn open(path: &std::path::Path) -> Repository {
    Repository::open(CWD, path, &OpenOptions::default()).unwrap()
}

/// What an image is in an empty repository, which it must be in every other.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) config: String,
    pub(crate) images: Vec<(FormatVersion, ObjectId)>,
    /// The sealed config's digest and the image it is bound to.
    pub(crate) sealed: Option<(String, ObjectId)>,
}

static FACTS: LazyLock<Mutex<HashMap<(Kind, Name), Facts>>> = LazyLock::new(Mutex::default);

/// Returns what is known about an image, found out when first asked.
pub(crate) fn facts(kind: Kind, name: Name) -> Facts {
    FACTS.lock().unwrap().entry((kind, name)).or_insert_with(|| find_out(kind, name)).clone()
}

fn find_out(kind: Kind, name: Name) -> Facts {
    let dir = TempDir::new_in(place()).unwrap();
    let path = dir.path().join("repo");
    kind.init(&path);
    let writer: Writer = open(&path).into_writer().unwrap();
    let of = Of::Image(name);
    let source =
        transport::open(&of.reference().parse().unwrap(), &transport::SourceOptions::default()).unwrap();
    let options = PullOptions::default().platform(of.platform().parse().unwrap()).jobs(1);
    let pulled = pull(&writer, source.as_ref(), &options, &Silent).unwrap();
    let manifest: &ManifestDigest = &pulled.manifest;
    assert_eq!(manifest.as_str(), FAMILY.manifest(name));
    let config = StoredImage::open(&writer, manifest).unwrap().config().clone();
    assert_eq!(sha256(config.bytes()), pulled.config.to_string());
    let sealed = name.is_container().then(|| {
        let sealed = seal::seal(&writer, &config, Rules::Current, &Silent).unwrap();
        (sealed.config.to_string(), sealed.image)
    });
    Facts { config: pulled.config.to_string(), images: pulled.images, sealed }
}
