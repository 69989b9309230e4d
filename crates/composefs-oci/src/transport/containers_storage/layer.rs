//! The files of one unpacked layer, opened by the names its tar has and never outside of it.

use std::{
    fs::File,
    io::{self, Cursor, Read},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use composefs::erofs::{
    Image,
    read::{Inode, ReadError, ReadLimits},
};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fgetxattr, fstat, openat, openat2},
    io::{Errno, retry_on_intr},
};

use super::{super::FileTaker, error::StorageError, tar_split::Files};

/// What overlayfs marks a file without contents with, as root and without.
const METACOPY: [&str; 2] = ["trusted.overlay.metacopy", "user.overlay.metacopy"];
/// Where the image of a layer's names says that a file's contents are.
const REDIRECT: &[u8] = b"trusted.overlay.redirect";
/// The largest image of a layer's names, in bytes; it is held in memory while the layer is read.
const NAMES_MAX: u64 = 256 << 20;
/// How often a lookup is tried again that a rename elsewhere may have disturbed.
const ATTEMPTS: usize = 8;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
// A FIFO would block an open without O_NONBLOCK.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// The files of one layer.
pub(super) struct LayerFiles<'a> {
    root: OwnedFd,
    path: PathBuf,
    /// The image that says which file is which, where the store keeps files by digest.
    names: Option<Vec<u8>>,
    taker: Option<&'a dyn FileTaker>,
}

impl<'a> LayerFiles<'a> {
    /// Opens the directory that a layer was unpacked into; `names` is where an image of its names may be.
    pub(super) fn open(path: PathBuf, names: Option<&Path>) -> Result<Self, StorageError> {
        let fail = |path: &Path| {
            let path = path.display().to_string();
            move |source: io::Error| StorageError::File { path, source }
        };
        let root = retry_on_intr(|| openat(CWD, &path, DIRECTORY, Mode::empty()))
            .map_err(io::Error::from)
            .map_err(fail(&path))?;
        let names =
            match names.map(|names| (names, retry_on_intr(|| openat(CWD, names, FILE, Mode::empty())))) {
                None | Some((_, Err(Errno::NOENT))) => None,
                Some((names, opened)) => {
                    let read = |fd: OwnedFd| super::super::layout::read_bounded(File::from(fd), NAMES_MAX);
                    let image = opened.map_err(io::Error::from).and_then(read).map_err(fail(names))?;
                    let bad = |error: ReadError| StorageError::Composefs {
                        path: names.to_owned(),
                        reason: error.to_string(),
                    };
                    Image::open(&image, &ReadLimits::default()).map_err(bad)?;
                    Some(image)
                }
            };
        Ok(Self { root, path, names, taker: None })
    }

    /// Offers each file to `taker`.
    pub(super) fn offered_to(mut self, taker: Option<&'a dyn FileTaker>) -> Self {
        self.taker = taker;
        self
    }

    fn open_at(&self, relative: &[u8], shown: &str) -> Result<File, StorageError> {
        let fail = |source: io::Error| StorageError::File { path: shown.to_owned(), source };
        // Symlinks on the way are those of the layer, with the layer as their root: files below them were unpacked so.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut opened = Err(Errno::AGAIN);
        for _ in 0..ATTEMPTS {
            opened = openat2(&self.root, relative, FILE, Mode::empty(), resolve);
            if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        let fd = match opened {
            // A kernel before 5.6, or a sandbox that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.walk(relative),
            opened => opened,
        };
        let kind = |found| StorageError::Kind { path: shown.to_owned(), found };
        match fd {
            Err(Errno::LOOP) => Err(kind("a symlink")),
            Err(Errno::NXIO) => Err(kind("a device or socket")),
            Err(errno) => Err(fail(errno.into())),
            Ok(fd) => Ok(File::from(fd)),
        }
    }

    /// Opens component by component and follows no symlink at all.
    fn walk(&self, relative: &[u8]) -> Result<OwnedFd, Errno> {
        let mut at: Option<OwnedFd> = None;
        let mut components = relative.split(|byte| *byte == b'/').peekable();
        while let Some(component) = components.next() {
            let flags = if components.peek().is_some() { DIRECTORY | OFlags::NOFOLLOW } else { FILE };
            let from = at.as_ref().map_or_else(|| self.root.as_fd(), |fd| fd.as_fd());
            at = Some(retry_on_intr(|| openat(from, component, flags, Mode::empty()))?);
        }
        at.ok_or(Errno::NOENT)
    }

    /// Opens a file and checks that it has contents of this size.
    fn open_regular(&self, relative: &[u8], size: u64, shown: &str) -> Result<File, StorageError> {
        let file = self.open_at(relative, shown)?;
        let fail = |errno: Errno| StorageError::File { path: shown.to_owned(), source: errno.into() };
        let stat = fstat(&file).map_err(fail)?;
        let found = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let actual = u64::try_from(stat.st_size).unwrap_or(0);
                if actual != size {
                    return Err(StorageError::Size { path: shown.to_owned(), expected: size, actual });
                }
                return Ok(file);
            }
            FileType::Directory => "a directory",
            FileType::CharacterDevice => "a device, as overlayfs marks what was removed",
            FileType::Fifo => "a FIFO",
            _ => "something else",
        };
        Err(StorageError::Kind { path: shown.to_owned(), found })
    }

    /// Opens a file, or what was made of it by who was offered it.
    fn open_offered(
        &self,
        relative: &[u8],
        size: u64,
        offset: u64,
        shown: &str,
    ) -> Result<Box<dyn Read + Send>, StorageError> {
        let file = self.open_regular(relative, size, shown)?;
        let Some(taker) = self.taker else { return Ok(Box::new(file)) };
        let taken = taker
            .take(file.as_fd(), offset, size)
            .map_err(|source| StorageError::Share { path: shown.to_owned(), source })?;
        Ok(Box::new(taken.unwrap_or(file)))
    }

    /// Finds a file through the image of names: in it, or where it says that the contents are.
    fn open_named(
        &self,
        image: &[u8],
        components: &[&[u8]],
        size: u64,
        offset: u64,
        shown: &str,
    ) -> Result<Box<dyn Read + Send>, StorageError> {
        let bad = |reason: String| StorageError::Composefs { path: self.path.join(shown), reason };
        let image = Image::open(image, &ReadLimits::default()).map_err(|error| bad(error.to_string()))?;
        let inode = image.lookup(components).map_err(|error| bad(error.to_string()))?;
        if let Some(redirect) = redirect(&inode).map_err(bad)? {
            let relative = join(&clean(redirect).ok_or_else(|| bad("it leads outside".to_owned()))?);
            return self.open_offered(&relative, size, offset, shown);
        }
        if !inode.is_regular() || inode.is_external() || inode.size() != size {
            return Err(bad("the image of the layer's names has other contents for it".to_owned()));
        }
        Ok(Box::new(Cursor::new(inode.contents().to_vec())))
    }
}

fn redirect<'i>(inode: &Inode<'i>) -> Result<Option<&'i [u8]>, String> {
    for xattr in inode.xattrs() {
        let xattr = xattr.map_err(|fault| fault.to_string())?;
        if xattr.has_name(REDIRECT) {
            return Ok(Some(xattr.value));
        }
    }
    Ok(None)
}

/// Splits a name of a tar into the components of a path below the layer; `None` if it leads nowhere or out of it.
fn clean(name: &[u8]) -> Option<Vec<&[u8]>> {
    let components: Vec<&[u8]> =
        name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    let good = !components.is_empty()
        && components.iter().all(|part| *part != b".." && !part.contains(&0) && part.len() <= 255);
    good.then_some(components)
}

fn join(components: &[&[u8]]) -> Vec<u8> {
    components.join(&b'/')
}

impl Files for LayerFiles<'_> {
    fn open(&self, name: &[u8], size: u64, offset: u64) -> Result<Box<dyn Read + Send>, StorageError> {
        let shown = String::from_utf8_lossy(name);
        let components = clean(name).ok_or_else(|| StorageError::BadPath(shown.clone().into_owned()))?;
        match &self.names {
            Some(image) => self.open_named(image, &components, size, offset, &shown),
            None => self.open_offered(&join(&components), size, offset, &shown),
        }
    }

    fn explain(&self, name: &[u8]) -> Option<StorageError> {
        let shown = String::from_utf8_lossy(name);
        let file = self.open_at(&join(&clean(name)?), &shown).ok()?;
        let mut value = [0; 1];
        // A value that does not fit is one, too.
        let has = |name: &&str| matches!(fgetxattr(&file, *name, &mut value), Ok(_) | Err(Errno::RANGE));
        METACOPY.iter().any(has).then(|| StorageError::Metacopy(shown.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        assert_eq!(clean(b"./usr//bin/x").unwrap(), [&b"usr"[..], b"bin", b"x"]);
        assert_eq!(clean(b"/etc/x").unwrap(), [&b"etc"[..], b"x"]);
        for bad in [&b""[..], b"./", b"..", b"a/../b", b"a\0b"] {
            assert_eq!(clean(bad), None);
        }
    }

    /// A layer as a store with composefs keeps it: files by digest, and an image that names them.
    #[test]
    fn files_by_digest_are_found_through_the_image() {
        use composefs::{
            digest::{Algorithm, object_id_of},
            dumpfile,
            erofs::{FormatVersion, WriteOptions, to_vec},
        };
        let dir = tempfile::tempdir().unwrap();
        let (layer, blob) = (dir.path().join("diff"), dir.path().join("composefs.blob"));
        let id = object_id_of(Algorithm::Sha256, b"contents");
        let path = id.object_path();
        std::fs::create_dir_all(layer.join(&path[..2])).unwrap();
        std::fs::write(layer.join(&path), "contents").unwrap();
        let text = format!(
            "/ 4096 40755 2 0 0 0 0.0 - - -\n/usr 4096 40755 2 0 0 0 0.0 - - -\n\
             /usr/by-digest 8 100644 1 0 0 0 0.0 {path} - {}\n/usr/inline 2 100644 1 0 0 0 0.0 - hi -\n",
            id.to_hex()
        );
        let tree = dumpfile::parse(text.as_bytes(), Algorithm::Sha256).unwrap().tree;
        let image = to_vec(&tree, FormatVersion::V1, &WriteOptions::default()).unwrap();
        std::fs::write(&blob, image).unwrap();
        let files = LayerFiles::open(layer, Some(&blob)).unwrap();
        let read = |name: &str, size| {
            let mut text = String::new();
            files.open(name.as_bytes(), size, 0).map(|mut file| file.read_to_string(&mut text).unwrap())?;
            Ok::<_, StorageError>(text)
        };
        assert_eq!(read("usr/by-digest", 8).unwrap(), "contents");
        assert_eq!(read("./usr/inline", 2).unwrap(), "hi");
        assert!(read("usr/inline", 3).is_err());
        assert!(read("usr/absent", 3).is_err());
        assert!(read("usr", 3).is_err());
        std::fs::write(&blob, "no image").unwrap();
        assert!(LayerFiles::open(dir.path().join("diff"), Some(&blob)).is_err());
    }

    #[test]
    fn symlinks_lead_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let layer = dir.path().join("diff");
        std::fs::create_dir_all(layer.join("usr/lib")).unwrap();
        std::fs::create_dir(dir.path().join("out")).unwrap();
        std::fs::write(dir.path().join("out/secret"), "secret").unwrap();
        std::fs::write(layer.join("usr/lib/x"), "inside").unwrap();
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, layer.join(name)).unwrap();
        link("/usr/lib", "lib");
        link("../out", "out");
        link(&dir.path().join("out").display().to_string(), "abs");
        link("usr/lib/x", "x");
        let files = LayerFiles::open(layer, None).unwrap();
        let read = |name: &str| {
            let mut text = String::new();
            let read =
                files.open(name.as_bytes(), 6, 0).map(|mut file| file.read_to_string(&mut text).unwrap());
            read.map(|_| text).map_err(|error| error.to_string())
        };
        // Below a symlink of the layer, which is the root of what it names.
        assert_eq!(read("lib/x").unwrap(), "inside");
        assert_eq!(read("usr/lib/x").unwrap(), "inside");
        assert!(read("out/secret").is_err());
        assert!(read("abs/secret").is_err());
        assert_eq!(read("x").unwrap_err(), "x should be a regular file and is a symlink");
        assert_eq!(read("usr/lib").unwrap_err(), "usr/lib should be a regular file and is a directory");
        assert!(files.open(b"usr/lib/x", 7, 0).is_err());
        // The slow way follows none.
        assert!(files.walk(b"usr/lib/x").is_ok());
        assert_eq!(files.walk(b"lib/x").unwrap_err(), Errno::NOTDIR);
    }
}
