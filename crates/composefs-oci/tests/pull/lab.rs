//! A layout and a repository side by side, and what a refused pull must leave behind.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use composefs::{
    digest::{Algorithm, ObjectId},
    erofs::FormatVersion,
    error::Category,
    progress::{Observer, Silent},
    repo::{CheckOptions, ErofsFormats, InitOptions, OpenOptions, Repository, Writer, init},
};
use composefs_oci::{
    Error, fsck,
    pull::{PullOptions, Pulled, SpaceCheck, pull},
    stored::{check, tags},
    transport,
};
use composefs_testkit::images::{Image, Layer, Layout};
use rustix::fs::CWD;
use tempfile::TempDir;

#[path = "../lab/heard.rs"]
mod heard;

pub(crate) use composefs_testkit::{
    chain,
    images::{layer_of_noise as layer, noise},
};
pub(crate) use heard::Heard;

pub(crate) struct Lab {
    dir: TempDir,
    pub(crate) layout: Layout,
    pub(crate) writer: Writer,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(Algorithm::Sha256, FormatVersion::V1)
    }

    pub(crate) fn with(algorithm: Algorithm, format: FormatVersion) -> Self {
        let dir = TempDir::new().unwrap();
        let repo = dir.path().join("repo");
        let options = InitOptions::new(algorithm).erofs(ErofsFormats::only(format)).insecure(true);
        init(CWD, &repo, &options).unwrap();
        let writer = Repository::open(CWD, &repo, &OpenOptions::default()).unwrap().into_writer().unwrap();
        let layout = Layout::create(dir.path().join("layout"));
        Self { dir, layout, writer }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    /// Another writer of the same repository: one that has seen nothing yet.
    pub(crate) fn reopen(&mut self) {
        let repo = self.repo();
        self.writer = Repository::open(CWD, &repo, &OpenOptions::default()).unwrap().into_writer().unwrap();
    }

    /// Pulls a tag of the layout, one layer at a time, and gives it the same tag.
    pub(crate) fn pull(&self, tag: &str) -> Result<Pulled, Error> {
        // Descriptors lie about sizes here, and what is to be seen is who finds that out from the bytes.
        let options = PullOptions::default().tag(tag).jobs(1).space(SpaceCheck::Skip);
        self.pull_as(&self.layout.reference(tag), &options, &Silent)
    }

    pub(crate) fn pull_as(
        &self,
        reference: &str,
        options: &PullOptions,
        observer: &dyn Observer,
    ) -> Result<Pulled, Error> {
        let source = transport::open(&reference.parse()?, &transport::SourceOptions::default())?;
        pull(&self.writer, source.as_ref(), options, observer)
    }

    /// Pulls an image that is new to the layout.
    pub(crate) fn pull_image(&mut self, tag: &str, image: &Image) -> Result<Pulled, Error> {
        self.layout.image(tag, image);
        self.pull(tag)
    }

    pub(crate) fn streams(&self) -> BTreeSet<String> {
        self.writer.stream_entries().unwrap().into_iter().map(|(name, _)| name.as_str().to_owned()).collect()
    }

    pub(crate) fn tags(&self) -> Vec<String> {
        tags::list(&self.writer).unwrap().into_iter().map(|tag| tag.name).collect()
    }

    /// Checks that a pull fails, names `culprit`, and leaves nothing but entries of the layers in `whole`.
    pub(crate) fn refused(&self, tag: &str, culprit: &str, whole: &[&Layer]) -> Error {
        let error = self.pull(tag).expect_err("the pull succeeded");
        self.nothing_but(&error, culprit, whole);
        error
    }

    pub(crate) fn nothing_but(&self, error: &Error, culprit: &str, whole: &[&Layer]) {
        let text = chain(error);
        assert!(text.contains(culprit), "{culprit} is not in: {text}");
        let layers: BTreeSet<_> = whole.iter().map(|layer| format!("oci-layer-{}", layer.diff_id)).collect();
        assert_eq!(self.streams(), layers, "{text}");
        assert_eq!(self.tags(), [""; 0], "{text}");
        assert_eq!(self.writer.image_entries().unwrap(), []);
        assert_eq!(self.writer.refs(Category::Streams, "oci-referrers").unwrap(), []);
        self.clean();
    }

    /// Checks everything that is named, bytes included.
    pub(crate) fn clean(&self) {
        let report = self.writer.check(&CheckOptions::default().deep(true), &Silent).unwrap();
        assert!(report.is_ok(), "{:?}", report.findings);
        assert_eq!(check::check(&self.writer, None).unwrap().findings, []);
        let options = fsck::CheckOptions::default().deep(true);
        let report = fsck::check(&self.writer, None, &options, &Silent).unwrap();
        assert!(report.is_ok(), "{:?}", report.findings);
    }

    pub(crate) fn object_path(&self, id: &ObjectId) -> PathBuf {
        self.repo().join("objects").join(id.object_path())
    }

    /// The image's tree as a dumpfile.
    pub(crate) fn dump(&self, pulled: &Pulled) -> String {
        let tree = composefs::image::tree(&self.writer, &pulled.images[0].1).unwrap();
        let mut out = Vec::new();
        composefs::dumpfile::write(&tree, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The paths in an image.
    pub(crate) fn paths(&self, pulled: &Pulled) -> Vec<String> {
        self.dump(pulled).lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }
}
