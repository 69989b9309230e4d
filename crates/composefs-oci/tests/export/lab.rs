//! A layout to pull from, a repository, and places to push to.

use std::path::{Path, PathBuf};

use composefs::{
    digest::Algorithm,
    progress::Silent,
    repo::{GcOptions, GcPlan, InitOptions, OpenOptions, Repository, Wait, Writer, init},
};
use composefs_oci::{
    Error,
    export::{ExportOptions, Packing, Pushed, push},
    find::Name,
    pull::{Platforms, PullOptions, Pulled, pull},
    reference::Reference,
    transport::{self, SinkOptions, SourceOptions, registry::RegistryOptions},
};
use composefs_testkit::images::{Compression, Image, Layer, Layout};
use rustix::fs::CWD;
use serde_json::Value;
use tempfile::TempDir;

#[path = "../lab/heard.rs"]
mod heard;
#[path = "../lab/plain_http.rs"]
mod plain_http;

pub(crate) use composefs_testkit::{chain, images::layer_of_noise as layer};
pub(crate) use heard::Heard;

pub(crate) struct Lab {
    dir: TempDir,
    pub(crate) layout: Layout,
    pub(crate) writer: Writer,
    pub(crate) registry: RegistryOptions,
    pub(crate) heard: Heard,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let writer = repository(&dir.path().join("repo"));
        let layout = Layout::create(dir.path().join("from"));
        Self { dir, layout, writer, registry: plain_http::options(), heard: Heard::default() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A reference of something in the lab's directory.
    pub(crate) fn at(&self, transport: &str, name: &str) -> String {
        format!("{transport}:{}", self.path(name).display())
    }

    pub(crate) fn pull(&self, from: &str, tag: &str) -> Pulled {
        self.pull_as(from, &pulling(tag))
    }

    pub(crate) fn pull_as(&self, from: &str, options: &PullOptions) -> Pulled {
        let options_of_source = SourceOptions::default().registry(self.registry.clone());
        let source = transport::open(&from.parse().unwrap(), &options_of_source).unwrap();
        pull(&self.writer, source.as_ref(), options, &Silent).unwrap()
    }

    /// Has an image in the repository, under the tag it has in the layout.
    pub(crate) fn have(&mut self, tag: &str, image: &Image) -> Pulled {
        self.layout.image(tag, image);
        self.pull(&self.layout.reference(tag), tag)
    }

    /// Collects garbage, with nobody else in the repository.
    pub(crate) fn collect(&mut self) {
        let elsewhere = TempDir::new().unwrap();
        drop(std::mem::replace(&mut self.writer, repository(&elsewhere.path().join("repo"))));
        let repo = Repository::open(CWD, self.path("repo"), &OpenOptions::default()).unwrap();
        let plan = GcPlan::new(&repo, &GcOptions::default()).unwrap();
        plan.apply(&repo.sweeper(Wait::Forever).unwrap(), &Silent).unwrap();
        drop(repo);
        let repo = Repository::open(CWD, self.path("repo"), &OpenOptions::default()).unwrap();
        self.writer = repo.into_writer().unwrap();
    }

    pub(crate) fn push(&self, tag: &str, to: &str, packing: Packing) -> Result<Pushed, Error> {
        self.push_as(tag, to, &ExportOptions::default().packing(packing).jobs(2))
    }

    pub(crate) fn push_as(&self, name: &str, to: &str, options: &ExportOptions) -> Result<Pushed, Error> {
        let to: Reference = to.parse()?;
        let sink = transport::create(&to, &SinkOptions::default().registry(self.registry.clone()))?;
        let name: Name = name.parse().unwrap();
        push(&self.writer, &name, sink.as_ref(), options, &self.heard)
    }
}

pub(crate) fn pulling(tag: &str) -> PullOptions {
    PullOptions::default().tag(tag).platform("linux/amd64".parse().unwrap()).jobs(2)
}

pub(crate) fn all_platforms(tag: &str) -> PullOptions {
    pulling(tag).platforms(Platforms::All)
}

pub(crate) fn repository(path: &Path) -> Writer {
    init(CWD, path, &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
    Repository::open(CWD, path, &OpenOptions::default()).unwrap().into_writer().unwrap()
}

/// An image with layers of every compression.
pub(crate) fn image() -> Image {
    Image::new([
        layer(1, 3_000, Compression::Gzip),
        layer(2, 1_500_000, Compression::Plain),
        layer(3, 20_000, Compression::Zstd),
    ])
}

/// A blob of a layout.
pub(crate) fn blob(layout: &Path, digest: &str) -> Vec<u8> {
    std::fs::read(layout.join("blobs").join(digest.replace(':', "/"))).unwrap()
}

/// A document of a layout.
pub(crate) fn json(layout: &Path, digest: &str) -> Value {
    serde_json::from_slice(&blob(layout, digest)).unwrap()
}

/// The layers' tars, in order.
pub(crate) fn tars(image: &Image) -> Vec<&[u8]> {
    image.layers.iter().map(|layer: &Layer| layer.tar.as_slice()).collect()
}
