//! A layout to copy from, and what came of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use composefs_oci::{
    Error,
    copy::{Copied, CopyOptions, Which, copy},
    reference::Reference,
    transport::{self, SinkOptions, SourceOptions, registry::RegistryOptions},
};
use composefs_testkit::images::{Compression, Descriptor, Image, Layout};
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
    /// How registries are got at.
    pub(crate) registry: RegistryOptions,
    pub(crate) heard: Heard,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let layout = Layout::create(dir.path().join("from"));
        Self { dir, layout, registry: plain_http::options(), heard: Heard::default() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A reference of something in the lab's directory.
    pub(crate) fn at(&self, transport: &str, name: &str) -> String {
        format!("{transport}:{}", self.path(name).display())
    }

    pub(crate) fn copy(&self, from: &str, to: &str) -> Result<Copied, Error> {
        self.copy_as(from, to, &amd64())
    }

    pub(crate) fn copy_all(&self, from: &str, to: &str) -> Result<Copied, Error> {
        self.copy_as(from, to, &CopyOptions::default().which(Which::All))
    }

    pub(crate) fn copy_as(&self, from: &str, to: &str, options: &CopyOptions) -> Result<Copied, Error> {
        let (from, to): (Reference, Reference) = (from.parse()?, to.parse()?);
        let source = transport::open(&from, &SourceOptions::default().registry(self.registry.clone()))?;
        let sink =
            transport::create(&to, &SinkOptions::default().registry(self.registry.clone()).source(&from))?;
        copy(source.as_ref(), sink.as_ref(), options, &self.heard)
    }

    /// An index of two images, tagged `all`.
    pub(crate) fn index(&mut self) -> Descriptor {
        let images = [("amd64", 1), ("arm64", 2)].map(|(name, seed)| {
            let layers = [layer(seed, 5_000, Compression::Gzip), layer(9, 700, Compression::Zstd)];
            self.layout.write(&Image::new(layers).platform(name, None))
        });
        self.layout.index("all", &images)
    }
}

/// Tries again at once, and takes plain HTTP.
pub(crate) fn amd64() -> CopyOptions {
    CopyOptions::default().which(Which::One("linux/amd64".parse().unwrap()))
}

/// The files below a directory and their contents.
pub(crate) fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![path.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten() {
            let at = entry.unwrap().path();
            if at.is_dir() {
                pending.push(at);
            } else {
                let name = at.strip_prefix(path).unwrap().display().to_string();
                found.insert(name, std::fs::read(&at).unwrap());
            }
        }
    }
    found
}

/// The blobs of a layout.
pub(crate) fn blobs(layout: &Path) -> BTreeMap<String, Vec<u8>> {
    files(&layout.join("blobs"))
}

/// An image with a layer that is sent as a stream, and two that are not.
pub(crate) fn image() -> Image {
    Image::new([
        layer(1, 3_000, Compression::Gzip),
        layer(2, 3_000_000, Compression::Plain),
        layer(3, 20_000, Compression::Zstd),
    ])
}
