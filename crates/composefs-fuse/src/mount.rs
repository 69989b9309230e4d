//! A FUSE mount, from its first request to its last.

use std::{
    fs::File,
    io::Read as _,
    num::NonZero,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    thread,
};

use composefs::{
    digest::object_id_of,
    erofs::ReadLimits,
    error::{Error, Step},
    mount::{ImageSource, MountRecord, UnmountWhen},
    repo::{OpenOptions, Repository, UnlockedObjects},
};
use fuser::{BackgroundSession, Config, Session, SessionACL};
use rustix::{
    fs::{Mode, OFlags},
    mount::MoveMountFlags,
};

use crate::{
    device::{self, Attached},
    error::{FuseError, FuseStep, Result},
    files::Files,
    options::{FuseOptions, Verify, Visitors},
    server::Server,
    tree::Tree,
    unmount::unmount,
};

/// More threads than this wait for each other.
const THREADS_MAX: usize = 8;

/// An image that threads of this process serve. Dropping it unmounts: out of sight now, gone with the last user.
#[derive(Debug)]
pub struct FuseMount {
    session: Option<BackgroundSession>,
    stopper: Stopper,
    /// The repository's directory, where the mount is recorded.
    repository: Option<OwnedFd>,
}

/// Takes a mount away from another thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    mountpoint: PathBuf,
    record: MountRecord,
}

impl FuseMount {
    /// Serves an image on threads of this process, and mounts it on a directory. When this returns, the mount can be
    /// used.
    ///
    /// The mount is recorded in the source's repository, whose lock is not held afterwards if the source had the last
    /// handle. A process that may not mount has `fusermount3` do so.
    ///
    /// # Errors
    /// [`FuseError::Composefs`] for an image that cannot be read, [`FuseError::Damaged`], [`FuseError::NotVerified`];
    /// [`FuseError::Io`] and [`FuseError::Refused`] for what the system refuses. Nothing is mounted then.
    pub fn spawn(source: ImageSource, mountpoint: &Path, options: &FuseOptions) -> Result<Self> {
        let span = tracing::info_span!("mount", target = %mountpoint.display(), digest = %source.id);
        let _entered = span.enter();
        if options.verify == Verify::Kernel && !source.verified {
            return Err(FuseError::NotVerified);
        }
        let mountpoint =
            std::path::absolute(mountpoint).map_err(FuseError::io(FuseStep::Place, mountpoint))?;
        let target = open_directory(&mountpoint)?;
        let tree = Tree::new(read_image(&source)?, source.id.algorithm(), options.owners.clone())
            .map_err(|error| Error::Image { id: source.id, source: Box::new(error) })?;
        let ImageSource { id, name, objects, verified, repository, .. } = source;
        let path = repository.as_ref().map_or_else(PathBuf::new, |repository| repository.path().to_owned());
        let objects = UnlockedObjects::new(objects, path, id.algorithm(), verified);
        let files = Files::new(objects, options.verify);

        let Attached { device, mount, everyone } = attach(&name, &mountpoint, options.visitors)?;
        let passthrough = everyone && !options.no_passthrough;
        let server = Server::new(tree, files, everyone, passthrough, is_first_namespace());
        // A mount with a place goes away again if the rest fails.
        let placed = mount.is_none().then(|| Unplace(&mountpoint));
        // The kernel decides who may ask.
        let session = Session::from_fd(server, device, SessionACL::All, config(options.threads))
            .map_err(FuseError::io(FuseStep::Handshake, &mountpoint))?;
        let record = match &mount {
            Some(mount) => MountRecord::of_file(mount, &mountpoint)?,
            None => MountRecord::of_file(open_directory(&mountpoint)?, &mountpoint)?,
        };
        let session = session.spawn().map_err(FuseError::io(FuseStep::Serve, &mountpoint))?;
        let noted = repository.as_ref().filter(|repository| note(repository, &record, &id));
        if let Some(mount) = mount {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            if let Err(error) = rustix::mount::move_mount(&mount, c"", &target, c"", flags) {
                if let Some(repository) = noted {
                    let _ = record.remove(repository);
                }
                // With its last descriptor the mount goes, and with it the threads.
                drop(mount);
                return Err(FuseError::io(FuseStep::Place, &mountpoint)(error));
            }
        }
        std::mem::forget(placed);
        // Opened again, for a copy of the descriptor would hold the lock.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let repository = noted.and_then(|repository| {
            rustix::io::retry_on_intr(|| {
                rustix::fs::openat(repository.directory(), c".", flags, Mode::empty())
            })
            .ok()
        });
        tracing::debug!(everyone, "mounted by FUSE");
        Ok(Self { session: Some(session), stopper: Stopper { mountpoint, record }, repository })
    }

    /// Returns what tells this mount from every other.
    #[must_use]
    pub const fn record(&self) -> &MountRecord {
        &self.stopper.record
    }

    /// Returns whether the repository has a note of the mount.
    #[must_use]
    pub const fn recorded(&self) -> bool {
        self.repository.is_some()
    }

    /// Returns what takes the mount away from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits until the mount is gone: somebody has unmounted it, and its last user is done. Its note is removed.
    ///
    /// # Errors
    /// [`FuseError::Io`] if the threads could not go on.
    pub fn wait(mut self) -> Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        let ended = session.join().map_err(FuseError::io(FuseStep::Serve, &self.stopper.mountpoint));
        self.forget();
        ended
    }

    /// Unmounts and waits for the end.
    ///
    /// # Errors
    /// [`FuseError::Composefs`] with `EBUSY` while the mount is in use; it stays then, and goes when this is dropped.
    pub fn unmount(self) -> Result<()> {
        match unmount(&self.stopper.mountpoint, None, UnmountWhen::Unused) {
            Err(FuseError::Composefs(Error::Mount(composefs::mount::MountError::NotMounted { .. }))) => {}
            result => {
                result?;
            }
        }
        self.wait()
    }

    fn forget(&mut self) {
        let Some(directory) = self.repository.take() else { return };
        let removed = Repository::open(directory.as_fd(), ".", &OpenOptions::default())
            .and_then(|repository| self.stopper.record.remove(&repository));
        if let Err(error) = removed {
            tracing::warn!(%error, "the note of the mount stays until the machine restarts");
        }
    }
}

impl Drop for FuseMount {
    fn drop(&mut self) {
        if self.session.is_some() {
            self.stopper.stop();
            self.forget();
        }
    }
}

impl Stopper {
    /// Takes the mount out of sight; it ends with its last user. Another mount at its place is left alone.
    pub fn stop(&self) {
        let ours = composefs::mount::find(&self.mountpoint).is_ok_and(|found| found.record == self.record);
        if ours && let Err(error) = unmount(&self.mountpoint, None, UnmountWhen::Lazy) {
            tracing::warn!(%error, "cannot unmount");
        }
    }
}

/// Takes away what is mounted, if the rest of mounting fails.
struct Unplace<'a>(&'a Path);

impl Drop for Unplace<'_> {
    fn drop(&mut self) {
        let _ = unmount(self.0, None, UnmountWhen::Lazy);
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))
        .map_err(FuseError::io(FuseStep::Place, path))
}

/// Reads the image, and hashes it where the kernel does not.
fn read_image(source: &ImageSource) -> Result<Vec<u8>> {
    let limit = ReadLimits::default().image_bytes;
    let failed = |error| Error::Io { step: Step::Read, path: PathBuf::from(&source.name), source: error };
    let mut file = File::from(source.image.try_clone().map_err(failed)?);
    std::io::Seek::rewind(&mut file).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > limit {
        return Err(Error::ObjectTooLarge { id: source.id, size, limit }.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if !source.verified && object_id_of(source.id.algorithm(), &bytes) != source.id {
        return Err(FuseError::Damaged(source.id));
    }
    Ok(bytes)
}

fn attach(name: &str, mountpoint: &Path, visitors: Visitors) -> Result<Attached> {
    let source = format!("composefs:{name}");
    let attached = device::direct(&source, visitors != Visitors::User)?;
    match attached {
        Some(attached) => Ok(attached),
        None => device::by_helper(&source, mountpoint, visitors == Visitors::Everyone),
    }
}

fn config(threads: usize) -> Config {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = if threads == 0 { processors.min(THREADS_MAX) } else { threads };
    let mut config = Config::default();
    config.n_threads = Some(threads);
    config
}

/// Notes the mount in the repository, if it can be written.
fn note(repository: &Repository, record: &MountRecord, image: &composefs::digest::ObjectId) -> bool {
    record.add(repository, image).unwrap_or_else(|error| {
        tracing::warn!(%error, "mount is not recorded: garbage collection does not know that the image is in use");
        false
    })
}

/// Tells whether user 0 is the machine's.
fn is_first_namespace() -> bool {
    let map = rustix::io::retry_on_intr(|| {
        rustix::fs::open("/proc/self/uid_map", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    });
    let mut text = String::new();
    let read = map.map(|file| File::from(file).take(4096).read_to_string(&mut text));
    matches!(read, Ok(Ok(_))) && text.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}
