//! A layout inside a tar as a destination.
//!
//! What will be in it is known before the first byte, and so is where: blobs are written side by side into a file
//! that has no name until all of them are there. The same image gives the same archive, whoever makes it.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use composefs::disk::{
    folder::{Folder, Staged},
    outside,
};
use composefs_tar::build::HeaderBuilder;
use oci_spec::image::Descriptor;

use crate::{
    digest::Digest,
    error::{Error, Step},
    reference::{InLayout, Reference, Select},
    transport::{
        Root, digest_of,
        layout::write::{INDEX, MARKER, MARKER_TEXT, artifacts, with_artifacts, with_entry},
        sink::{OpenBlob, Sink, write_checked},
    },
};

const BLOCK: u64 = 512;
/// What a tar ends with.
const END: u64 = 2 * BLOCK;

/// An archive that an image is put into.
#[derive(Debug)]
pub struct ArchiveSink {
    path: PathBuf,
    name: String,
    tag: Option<String>,
    folder: Folder,
    /// An unnamed file in the folder, and what is still to come into it.
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    staged: Staged,
    places: BTreeMap<Digest, (u64, u64)>,
    missing: HashSet<Digest>,
}

impl ArchiveSink {
    /// Prepares to write an archive, which takes the place of one that is there.
    ///
    /// # Errors
    /// [`Error::NotADestination`] for a directory; [`Error::Repository`] with the path.
    pub fn create(path: &Path, tag: Option<String>) -> Result<Self, Error> {
        let refuse =
            |reason| Error::NotADestination { reference: format!("oci-archive:{}", path.display()), reason };
        // A file behind links is replaced, not the links. What they lead to has to be there.
        let behind = match rustix::fs::lstat(path) {
            Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink() => {
                outside::resolve(path)?.ok_or_else(|| refuse("a link that leads nowhere is there"))?
            }
            _ => path.to_owned(),
        };
        let path = &behind;
        let name =
            path.file_name().and_then(|name| name.to_str()).ok_or_else(|| refuse("this names no file"))?;
        if rustix::fs::stat(path).is_ok_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile
        }) {
            return Err(refuse("something that is no file is there"));
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = Folder::make(parent)?;
        Ok(Self { path: path.to_owned(), name: name.to_owned(), tag, folder, state: Mutex::new(None) })
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_error(&self, source: io::Error) -> Error {
        Error::source(Step::Write, self.path.display(), source)
    }

    /// Returns where a blob goes.
    fn window(&self, digest: &Digest) -> Result<Window, Error> {
        let state = self.lock();
        let found = state.as_ref().and_then(|state| Some((state, *state.places.get(digest)?)));
        let (state, (offset, size)) = found.ok_or_else(|| unannounced(digest))?;
        let file = state.staged.file().try_clone().map_err(|error| self.write_error(error))?;
        Ok(Window { file, offset, left: size })
    }

    fn done(&self, digest: &Digest) {
        if let Some(state) = self.lock().as_mut() {
            state.missing.remove(digest);
        }
    }

    fn put(&self, document: &Root) -> Result<(), Error> {
        let mut window = self.window(&document.digest)?;
        window.write_all(&document.bytes).map_err(|error| self.write_error(error))?;
        self.done(&document.digest);
        Ok(())
    }
}

fn unannounced(digest: &Digest) -> Error {
    Error::Damaged { subject: digest.to_string(), reason: "it was not announced".to_owned() }
}

/// The place of a blob in the archive.
struct Window {
    file: File,
    offset: u64,
    left: u64,
}

impl Write for Window {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if buffer.len() as u64 > self.left {
            return Err(io::Error::other("more than its descriptor says"));
        }
        self.file.write_all_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(buffer.len() as u64);
        self.left = self.left.saturating_sub(buffer.len() as u64);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An archive's headers and small members, and where the blobs go.
struct Plan {
    /// Bytes at an offset.
    fixed: Vec<(u64, Vec<u8>)>,
    places: BTreeMap<Digest, (u64, u64)>,
    size: u64,
}

impl Plan {
    fn new(index: Vec<u8>, blobs: &BTreeMap<Digest, u64>) -> Self {
        let mut plan = Self { fixed: Vec::new(), places: BTreeMap::new(), size: 0 };
        plan.directory("blobs/");
        for algorithm in blobs.keys().map(Digest::algorithm).collect::<BTreeSet<_>>() {
            plan.directory(&format!("blobs/{algorithm}/"));
        }
        for (digest, size) in blobs {
            let offset = plan.file(&format!("blobs/{}/{}", digest.algorithm(), digest.encoded()), *size);
            plan.places.insert(digest.clone(), (offset, *size));
        }
        for (name, contents) in [(INDEX, index), (MARKER, MARKER_TEXT.as_bytes().to_vec())] {
            let offset = plan.file(name, contents.len() as u64);
            plan.fixed.push((offset, contents));
        }
        plan.size = plan.size.saturating_add(END);
        plan
    }

    fn directory(&mut self, name: &str) {
        self.header(HeaderBuilder::new(b'5').name(name.as_bytes()).mode(0o755));
    }

    /// Adds a file; returns where its contents go.
    fn file(&mut self, name: &str, size: u64) -> u64 {
        // Only digests are long, and none that can be computed is as long as a name may be.
        self.header(HeaderBuilder::new(b'0').name(name.as_bytes()).size(size));
        let offset = self.size;
        self.size = self.size.saturating_add(size.div_ceil(BLOCK).saturating_mul(BLOCK));
        offset
    }

    fn header(&mut self, header: HeaderBuilder) {
        self.fixed.push((self.size, header.build().to_vec()));
        self.size = self.size.saturating_add(BLOCK);
    }
}

impl Sink for ArchiveSink {
    fn describe(&self) -> String {
        let select = self.tag.clone().map_or(Select::Any, Select::Tag);
        Reference::OciArchive(InLayout { path: self.path.clone(), select }).to_string()
    }

    fn begin(&self, root: &Root, contents: &[Descriptor]) -> Result<(), Error> {
        let mut blobs = BTreeMap::new();
        blobs.insert(root.digest.clone(), root.bytes.len() as u64);
        for descriptor in contents {
            blobs.insert(digest_of(descriptor)?, descriptor.size());
        }
        let too_long = blobs.keys().find(|digest| digest.hasher().is_none());
        if let Some(digest) = too_long {
            let algorithm = digest.algorithm().to_owned();
            return Err(Error::blob(digest, crate::digest::BlobFault::Algorithm(algorithm)));
        }
        let index = with_artifacts(None, &artifacts(contents))
            .and_then(|old| with_entry(old.as_deref(), root, self.tag.as_deref()))
            .map_err(|source| Error::model(self.path.display(), source))?;
        let plan = Plan::new(index, &blobs);
        let staged = self.folder.stage()?;
        let file = staged.file();
        file.set_len(plan.size).map_err(|error| self.write_error(error))?;
        for (offset, bytes) in &plan.fixed {
            file.write_all_at(bytes, *offset).map_err(|error| self.write_error(error))?;
        }
        let missing = plan.places.keys().cloned().collect();
        *self.lock() = Some(State { staged, places: plan.places, missing });
        Ok(())
    }

    fn has_blob(&self, _blob: &Descriptor) -> Result<bool, Error> {
        Ok(false)
    }

    fn put_blob(&self, blob: &Descriptor, open: &OpenBlob<'_>) -> Result<(), Error> {
        let digest = digest_of(blob)?;
        let mut window = self.window(&digest)?;
        write_checked(blob, open, &self.path.display().to_string(), &mut window)?;
        self.done(&digest);
        Ok(())
    }

    fn put_manifest(&self, document: &Root) -> Result<(), Error> {
        self.put(document)
    }

    fn finish(&self, root: &Root) -> Result<(), Error> {
        self.put(root)?;
        let state = self.lock().take();
        let state = state.ok_or_else(|| unannounced(&root.digest))?;
        if let Some(digest) = state.missing.iter().next() {
            return Err(Error::BlobMissing {
                digest: digest.clone(),
                place: self.path.display().to_string(),
            });
        }
        // What has a name is whole, after a crash too.
        self.folder.sync()?;
        Ok(state.staged.publish(&self.name)?)
    }
}
