//! A repository with an image of everything there is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use composefs::{
    digest::{Algorithm, ObjectId},
    erofs::{self, FormatVersion, WriteOptions},
    filetree::{FileTree, Inode, InodeId, InodeKind, Name, Regular, Stat, inode::device_number},
    mount::ImageSource,
    repo::{InitOptions, OpenOptions, Repository, Writer, init},
};
use rustix::fs::CWD;

/// Where the scene's temporary directory is removed by whoever made it.
pub(crate) struct Scene {
    pub(crate) directory: PathBuf,
    pub(crate) tree: FileTree,
    pub(crate) image: ObjectId,
}

fn stat(mode: u16, owner: u32, seconds: i64, nanos: u32) -> Stat {
    Stat { mode, uid: owner, gid: owner, mtime_seconds: seconds, mtime_nanos: nanos, ..Stat::default() }
}

fn add(tree: &mut FileTree, directory: InodeId, name: &[u8], stat: Stat, kind: InodeKind) -> InodeId {
    tree.insert(directory, Name::new(name).unwrap(), Inode { stat, kind }).unwrap()
}

fn folder(tree: &mut FileTree, directory: InodeId, name: &[u8], stat: Stat) -> InodeId {
    add(tree, directory, name, stat, InodeKind::Directory(Default::default()))
}

/// Contents that no two offsets have in common.
pub(crate) fn contents(size: usize) -> Vec<u8> {
    let mut state = size as u64;
    (0..size)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

fn external(writer: &Writer, size: usize) -> InodeKind {
    let stored = writer.store_bytes(&contents(size)).unwrap();
    InodeKind::Regular(Regular::External { id: stored.id, size: stored.size })
}

/// All kinds of inode, names of all sorts, times before 1970, hard links, attributes of every prefix.
pub(crate) fn everything(writer: &Writer) -> FileTree {
    let mut tree = FileTree::new(stat(0o751, 0, 1_700_000_000, 5));
    let root = InodeId::ROOT;
    let bin = folder(&mut tree, root, b"bin", stat(0o755, 0, 1, 0));
    let tool = add(&mut tree, bin, b"tool", stat(0o4755, 0, 0, 0), external(writer, 100_000));
    tree.link(bin, Name::new(b"same tool").unwrap(), tool).unwrap();
    tree.inode_mut(tool)
        .stat
        .xattrs
        .set(b"security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let etc = folder(&mut tree, root, b"etc", stat(0o700, 0, -1, 999_999_999));
    let secret = add(&mut tree, etc, b"shadow", stat(0o600, 0, -86_400, 1), external(writer, 65));
    tree.inode_mut(secret).stat.xattrs.set(b"user.note", b"keep");
    tree.inode_mut(secret).stat.xattrs.set(b"user.empty", b"");
    tree.inode_mut(secret).stat.xattrs.set(b"trusted.hidden", b"from users");
    tree.inode_mut(etc).stat.xattrs.set(b"user.long", &[b'x'; 3000]);
    let home = folder(&mut tree, root, b"home", stat(0o1777, 0, 1, 1));
    add(&mut tree, home, b"owned", stat(0o640, 1000, 2, 3), external(writer, 4096));
    add(&mut tree, home, b"far owner", stat(0o644, 3_000_000_000, 2, 3), external(writer, 4097));
    add(
        &mut tree,
        home,
        b"inline",
        stat(0o644, 1000, 1, 0),
        InodeKind::Regular(Regular::Inline(b"short"[..].into())),
    );
    add(&mut tree, home, b"empty", stat(0o444, 1, 1, 0), InodeKind::Regular(Regular::Inline(Box::default())));
    add(&mut tree, home, b"sparse", stat(0o444, 1, 1, 0), InodeKind::Regular(Regular::Sparse(3 << 20)));
    add(&mut tree, home, b"large", stat(0o444, 1, 1, 0), external(writer, 5_000_001));
    add(&mut tree, home, b"link", stat(0o777, 5, 9, 9), InodeKind::Symlink(b"../bin/tool"[..].into()));
    add(&mut tree, home, b"long link", stat(0o777, 0, 9, 9), InodeKind::Symlink(vec![b'l'; 3000].into()));
    let dev = folder(&mut tree, root, b"dev", stat(0o755, 0, 1, 0));
    let number = |major, minor| device_number(major, minor).unwrap();
    add(&mut tree, dev, b"null", stat(0o666, 0, 1, 0), InodeKind::CharDevice(number(1, 3)));
    add(&mut tree, dev, b"disk", stat(0o660, 6, 1, 0), InodeKind::BlockDevice(number(259, 1_000_000)));
    add(&mut tree, dev, b"pipe", stat(0o622, 0, 1, 0), InodeKind::Fifo);
    add(&mut tree, dev, b"socket", stat(0o755, 0, 1, 0), InodeKind::Socket);
    let names = folder(&mut tree, root, b"names", stat(0o755, 0, 1, 0));
    for name in [&[b'n'; 255][..], b"new\nline", b"\xff\xfe", b"...", b"-rf", b" "] {
        add(
            &mut tree,
            names,
            name,
            stat(0o644, 0, 1, 0),
            InodeKind::Regular(Regular::Inline(name[..name.len().min(60)].into())),
        );
    }
    let many = folder(&mut tree, root, b"many", stat(0o755, 0, 1, 0));
    for index in 0..5000 {
        let text = format!("file number {index:05}");
        let kind = InodeKind::Regular(Regular::Inline(text.as_bytes().into()));
        add(&mut tree, many, text.as_bytes(), stat(0o644, index, i64::from(index), index), kind);
    }
    let mut deep = folder(&mut tree, root, b"deep", stat(0o755, 0, 1, 0));
    for _ in 0..60 {
        deep = folder(&mut tree, deep, &[b'd'; 60], stat(0o755, 0, 1, 0));
    }
    add(&mut tree, deep, b"bottom", stat(0o644, 0, 1, 0), external(writer, 70));
    tree
}

impl Scene {
    pub(crate) fn new(directory: &Path, version: FormatVersion) -> Self {
        Self::with(directory, version, everything)
    }

    pub(crate) fn with(
        directory: &Path,
        version: FormatVersion,
        tree: impl FnOnce(&Writer) -> FileTree,
    ) -> Self {
        let path = directory.join("repository");
        fs::create_dir(directory.join("mnt")).unwrap();
        init(CWD, &path, &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
        let repository = Repository::open(CWD, &path, &OpenOptions::default()).unwrap();
        let writer = repository.writer().unwrap();
        let tree = tree(&writer);
        let bytes = erofs::to_vec(&tree, version, &WriteOptions::default()).unwrap();
        let image = writer.store_bytes(&bytes).unwrap().id;
        let mut commit = writer.begin();
        commit.image(image);
        commit.finish().unwrap();
        Self { directory: directory.to_owned(), tree, image }
    }

    pub(crate) fn repository(&self) -> Repository {
        Repository::open(CWD, self.directory.join("repository"), &OpenOptions::default()).unwrap()
    }

    pub(crate) fn mountpoint(&self) -> PathBuf {
        self.directory.join("mnt")
    }

    pub(crate) fn source(&self) -> ImageSource {
        ImageSource::open(&self.repository(), &self.image).unwrap()
    }

    pub(crate) fn object(&self, id: &ObjectId) -> PathBuf {
        self.directory.join("repository/objects").join(id.object_path())
    }

    /// How many mounts are recorded.
    pub(crate) fn records(&self) -> usize {
        self.repository().refs(composefs::error::Category::Images, "x-mounts").unwrap().len()
    }
}
