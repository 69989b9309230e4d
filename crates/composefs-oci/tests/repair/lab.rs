//! A layout and a repository side by side, and all that the repository holds.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use composefs::{
    digest::{Algorithm, ObjectId},
    progress::Silent,
    repo::{CheckOptions, InitOptions, OpenOptions, Repository, Writer, init},
};
use composefs_oci::{
    Error, ident,
    pull::{PullOptions, Pulled, pull},
    reference::Reference,
    repair::{RepairOptions, RepairPlan, RepairReport, Sources},
    stored::{StoredImage, check},
    transport::{self, Source, SourceOptions, registry::RegistryOptions},
};
use composefs_testkit::images::{Compression, Image, Layer, Layout};
use rustix::fs::CWD;
use tempfile::TempDir;

pub(crate) use composefs_testkit::images::layer_of_noise as layer;

pub(crate) struct Lab {
    dir: TempDir,
    pub(crate) layout: Layout,
}

/// Every path below a repository with its contents: a symlink's target, a file's bytes.
pub(crate) type State = BTreeMap<String, Vec<u8>>;

pub(crate) fn open(reference: &Reference) -> Result<Box<dyn Source>, Error> {
    let insecure = RegistryOptions::default().tls_verify(Some(false));
    transport::open(reference, &SourceOptions::default().registry(insecure))
}

/// Opens nothing.
pub(crate) fn nothing(reference: &Reference) -> Result<Box<dyn Source>, Error> {
    Err(Error::NotFound(format!("{reference} (the cable is cut)")))
}

pub(crate) fn three_layers() -> Vec<Layer> {
    vec![
        layer(1, 300_000, Compression::Gzip),
        layer(2, 5_000, Compression::Zstd),
        layer(3, 50, Compression::Plain),
    ]
}

impl Lab {
    pub(crate) fn new() -> Self {
        let lab = Self::empty();
        lab.make("repo", Algorithm::Sha256);
        lab
    }

    fn empty() -> Self {
        let dir = TempDir::new().unwrap();
        let layout = Layout::create(dir.path().join("layout"));
        Self { dir, layout }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn make(&self, name: &str, algorithm: Algorithm) {
        init(CWD, self.path(name), &InitOptions::new(algorithm).insecure(true)).unwrap();
    }

    pub(crate) fn open(&self, name: &str) -> Repository {
        Repository::open(CWD, self.path(name), &OpenOptions::default()).unwrap()
    }

    /// One that has seen nothing yet.
    pub(crate) fn writer(&self) -> Writer {
        self.open("repo").into_writer().unwrap()
    }

    /// Pulls a tag of the layout as `cfsctl` does, into a repository.
    pub(crate) fn pull_into(&self, name: &str, tag: &str, options: PullOptions) -> Pulled {
        let reference: Reference = self.layout.reference(tag).parse().unwrap();
        let options = options.tag(tag).jobs(1).origin(reference.lasting(Path::new("/")));
        pull(&self.open(name).into_writer().unwrap(), open(&reference).unwrap().as_ref(), &options, &Silent)
            .unwrap()
    }

    pub(crate) fn pull(&mut self, tag: &str, image: &Image) -> Pulled {
        self.layout.image(tag, image);
        self.pull_into("repo", tag, PullOptions::default())
    }

    pub(crate) fn object(&self, id: &ObjectId) -> PathBuf {
        self.path("repo/objects").join(id.object_path())
    }

    pub(crate) fn state(&self) -> State {
        let root = self.path("repo");
        let mut state = State::new();
        let mut pending = vec![root.clone()];
        while let Some(at) = pending.pop() {
            for entry in std::fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                let what = if metadata.is_dir() {
                    pending.push(path.clone());
                    continue;
                } else if metadata.is_symlink() {
                    std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                } else {
                    std::fs::read(&path).unwrap()
                };
                state.insert(path.strip_prefix(&root).unwrap().display().to_string(), what);
            }
        }
        state
    }

    pub(crate) fn plan<T>(
        &self,
        sources: &Sources<'_>,
        options: &RepairOptions,
        look: impl FnOnce(&RepairPlan<'_>) -> T,
    ) -> T {
        look(&RepairPlan::new(&self.open("repo"), sources, options, &Silent).unwrap())
    }

    /// Makes the plan and carries it out; the plan changes nothing.
    pub(crate) fn repair(&self, sources: &Sources<'_>, options: &RepairOptions) -> RepairReport {
        let before = self.state();
        let writer = self.writer();
        let plan = RepairPlan::new(&writer, sources, options, &Silent).unwrap();
        assert_eq!(self.state(), before);
        plan.apply(writer, &Silent).unwrap()
    }

    /// Does each harm to each part, and checks that a repair brings back the repository as it was.
    pub(crate) fn comes_back(
        &self,
        parts: impl IntoIterator<Item = (&'static str, PathBuf)>,
        sources: &Sources<'_>,
    ) {
        let whole = self.state();
        for (what, path) in parts {
            for how in HARMS {
                if harm(&path, how) {
                    let report = self.repair(sources, &RepairOptions::default());
                    assert!(report.is_ok(), "{what} {how:?}: {report:?}");
                    assert!(self.state() == whole, "{what} {how:?}");
                }
            }
        }
        self.clean();
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        let repo = self.open("repo");
        let report = repo.check(&CheckOptions::default().deep(true), &Silent).unwrap();
        let oci = check::check(&repo, None).unwrap();
        let findings = report.errors().map(ToString::to_string);
        findings.chain(oci.findings.iter().map(ToString::to_string)).collect()
    }

    pub(crate) fn clean(&self) {
        assert_eq!(self.findings(), [""; 0]);
    }

    /// The places of an image's parts, by what they are.
    pub(crate) fn parts(&self, pulled: &Pulled, tag: &str, layer: &Layer) -> Vec<(&'static str, PathBuf)> {
        let repo = self.open("repo");
        let image = StoredImage::open_tag(&repo, tag).unwrap();
        let stream = *image.config().named(&layer.diff_id).unwrap();
        let object =
            |stream: &ObjectId| repo.open_stream(stream).unwrap().object_refs().iter().next().unwrap();
        let (_, erofs) = pulled.images[0];
        let streams = self.path("repo/streams");
        vec![
            (FILE, self.object(&object(&stream))),
            (LAYER, self.object(&stream)),
            (IMAGE, self.object(&erofs)),
            (CONFIG_STREAM, self.object(&pulled.config_stream)),
            (CONFIG, self.object(&object(&pulled.config_stream))),
            (MANIFEST_STREAM, self.object(&pulled.manifest_stream)),
            (MANIFEST, self.object(&object(&pulled.manifest_stream))),
            (LAYER_ENTRY, streams.join(format!("oci-layer-{}", layer.diff_id))),
            (CONFIG_ENTRY, streams.join(ident::config(&pulled.config).unwrap().as_str())),
            (MANIFEST_ENTRY, streams.join(ident::manifest(&pulled.manifest).unwrap().as_str())),
            (IMAGE_ENTRY, self.path("repo/images").join(erofs.to_hex())),
        ]
    }
}

pub(crate) const FILE: &str = "a file of a layer";
pub(crate) const LAYER: &str = "a layer's stream";
pub(crate) const IMAGE: &str = "an image";
pub(crate) const CONFIG_STREAM: &str = "the config's stream";
pub(crate) const CONFIG: &str = "the config";
pub(crate) const MANIFEST_STREAM: &str = "the manifest's stream";
pub(crate) const MANIFEST: &str = "the manifest";
pub(crate) const LAYER_ENTRY: &str = "a layer's entry";
pub(crate) const CONFIG_ENTRY: &str = "the config's entry";
pub(crate) const MANIFEST_ENTRY: &str = "the manifest's entry";
pub(crate) const IMAGE_ENTRY: &str = "an image's entry";

/// What can be done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    Delete,
    Empty,
    Cut,
    Flip,
}

pub(crate) const HARMS: [Harm; 4] = [Harm::Delete, Harm::Empty, Harm::Cut, Harm::Flip];

/// Does it; a symlink can only be deleted. Tells whether something was done.
pub(crate) fn harm(path: &Path, how: Harm) -> bool {
    if path.symlink_metadata().unwrap().is_symlink() {
        if how == Harm::Delete {
            std::fs::remove_file(path).unwrap();
        }
        return how == Harm::Delete;
    }
    let mut bytes = std::fs::read(path).unwrap();
    std::fs::remove_file(path).unwrap();
    match how {
        Harm::Delete => return true,
        Harm::Empty => bytes.clear(),
        Harm::Cut => bytes.truncate(bytes.len() / 2),
        Harm::Flip => {
            let at = bytes.len() / 2;
            bytes[at] ^= 0x10;
        }
    }
    std::fs::write(path, bytes).unwrap();
    true
}
