//! What a mount will consist of, decided before anything is changed; and doing it.

use std::{
    fmt,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::{MountAttrFlags, MoveMountFlags, UnmountFlags},
};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use crate::{
    digest::ObjectId,
    disk::beneath,
    error::{Category, Error},
    repo::{Repository, layout},
};

use super::{
    attach::{self, Attachment},
    context::{Context, open_directory, open_root},
    error::{MountError, MountStep, Result},
    feature::Feature,
    idmap::IdMap,
    options::{Access, AttachPolicy, MountOptions, UpperLayer},
    overlay::{self, LayerSyntax, Layers, OverlayVerity},
    probe::Kernel,
    record::MountRecord,
};

/// An image to be mounted, with the store of its contents.
#[derive(Debug)]
pub struct ImageSource {
    /// The image's id.
    pub id: ObjectId,
    /// What mount tables show after `composefs:`: the name it was asked for by, or its id.
    pub name: String,
    /// The image file, open for reading; whoever opened it has made sure that it is the image `id`.
    pub image: OwnedFd,
    /// The repository's `objects/`, open for reading.
    pub objects: OwnedFd,
    /// Whether every object has fs-verity.
    pub verified: bool,
    /// The repository, where the mount is recorded; `None` records nothing.
    pub repository: Option<Repository>,
}

impl ImageSource {
    /// Opens an image of a repository. Mount tables will show its id; set [`ImageSource::name`] for another name.
    ///
    /// Where the repository has no fs-verity the image is hashed: the kernel gets to read nothing else than
    /// what the id says.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the repository has no entry for the image; [`Error::ObjectMissing`],
    /// [`Error::ObjectMismatch`], [`Error::VerityMissing`]; [`Error::Io`].
    pub fn open(repository: &Repository, id: &ObjectId) -> Result<Self, Error> {
        let not_found = || Error::NotFound { category: Category::Images, name: id.to_hex() };
        let id = repository.image_entry(id)?.ok_or_else(not_found)?;
        if !repository.is_verified() {
            repository.check_object(&id)?;
        }
        let image = repository.open_object(&id)?;
        let (directory, path) = (repository.directory(), repository.path());
        let objects = beneath::open_directory(directory, path, [layout::OBJECTS.as_bytes()])?
            .ok_or(Error::ObjectMissing { id })?;
        let (name, verified) = (id.to_hex(), repository.is_verified());
        Ok(Self { id, name, image, objects, verified, repository: Some(repository.clone()) })
    }
}

/// What a mount will consist of. Making one changes nothing; [`MountPlan::apply`] mounts.
#[derive(Debug)]
pub struct MountPlan {
    source: ImageSource,
    attach: AttachPolicy,
    syntax: LayerSyntax,
    verity: OverlayVerity,
    access: Access,
    upper: Option<UpperLayer>,
    temporary_bytes: Option<u64>,
    idmap: IdMap,
    /// Whether layers may come from mounts that have no place; if not, they get the mountpoint for a moment.
    detached: bool,
}

/// A mount that was made. It stays when this is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mounted {
    /// Where.
    pub mountpoint: PathBuf,
    /// Which mount it is.
    pub record: MountRecord,
    /// Whether the repository has a note of it, so that the image is kept.
    pub recorded: bool,
    /// What the image is read from.
    pub attachment: Attachment,
    /// What overlayfs checks.
    pub verity: OverlayVerity,
}

impl MountPlan {
    /// Decides how to mount an image of a repository, by its id.
    ///
    /// # Errors
    /// Those of [`ImageSource::open`], and those of [`MountPlan::of`] as [`Error::Mount`].
    pub fn new(repository: &Repository, id: &ObjectId, options: &MountOptions) -> Result<Self, Error> {
        Ok(Self::of(ImageSource::open(repository, id)?, options)?)
    }

    /// Decides how to mount, by what the options ask for and what the kernel can do.
    ///
    /// # Errors
    /// [`MountError::Contradiction`], [`MountError::NotVerified`], [`MountError::MissingFeature`] where there is
    /// no other way, [`MountError::NotPermitted`] for a process that may not mount, [`MountError::NotAnImage`].
    pub fn of(source: ImageSource, options: &MountOptions) -> Result<Self> {
        let upper = options.effective_upper()?;
        let kernel = match &options.kernel {
            Some(kernel) => kernel,
            None => Kernel::current()?,
        };
        for feature in [Feature::MountCalls, Feature::Erofs, Feature::Overlay] {
            kernel.require(feature)?;
        }
        let verity = OverlayVerity::choose(options.verity, source.verified, kernel)?;
        let syntax = LayerSyntax::choose(kernel);
        if syntax == LayerSyntax::StackedString && !hides_store(&source)? {
            kernel.require(Feature::DataOnlyLayers)?;
        }
        let detached = kernel.has(Feature::DetachedLayers);
        Ok(Self {
            source,
            attach: options.attach,
            syntax,
            verity,
            access: options.access,
            upper,
            temporary_bytes: options.temporary_bytes,
            idmap: options.idmap.clone(),
            detached,
        })
    }

    /// Returns what will be mounted.
    #[must_use]
    pub const fn source(&self) -> &ImageSource {
        &self.source
    }

    /// Mounts onto a directory, covering what is there.
    ///
    /// The mount appears complete. Only where the kernel takes no layers from mounts without a place
    /// (before Linux 6.15), the image's names alone are there for the moment it takes to make the overlay.
    /// What was mounted before a failure is unmounted again.
    ///
    /// # Errors
    /// [`Error::Mount`] with the step; a repository that cannot be written only leaves [`Mounted::recorded`] false.
    pub fn apply(&self, mountpoint: &Path) -> Result<Mounted, Error> {
        let span = tracing::info_span!("mount", target = %mountpoint.display(), digest = %self.source.id);
        let _entered = span.enter();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let target = rustix::io::retry_on_intr(|| rustix::fs::open(mountpoint, flags, Mode::empty()))
            .map_err(MountError::kernel(MountStep::OpenMountpoint, mountpoint))?;

        let name = Path::new(&self.source.name);
        let (image, attachment) = attach::attach(self.source.image.as_fd(), name, self.attach)?;
        self.map_owners(&image)?;
        let mut staged = Staged::default();
        let names = self.usable(&image, &target, mountpoint, &mut staged)?;
        let upper = self.open_upper(&names, &target, mountpoint, &mut staged)?;
        let layers = Layers {
            names: names.as_fd(),
            contents: self.source.objects.as_fd(),
            upper: upper.as_ref().map(|(upper, work)| (upper.as_fd(), work.as_fd())),
        };
        let attributes = match self.access {
            Access::ReadOnly => MountAttrFlags::MOUNT_ATTR_RDONLY,
            Access::ReadWrite => MountAttrFlags::empty(),
        };
        let source = format!("composefs:{}", self.source.name);
        let overlay = overlay::mount(&layers, self.syntax, self.verity, &source, attributes)?;
        // The overlay has its own references to its layers by now.
        drop(staged);

        let record = MountRecord::of_file(&overlay, mountpoint)?;
        // Before the mount is in use, and while the caller's handle still keeps collectors away.
        let recorded = self.note(&record);
        if let Err(error) = place(&overlay, &target, mountpoint) {
            if recorded && let Some(repository) = &self.source.repository {
                let _ = record.remove(repository);
            }
            return Err(error.into());
        }
        tracing::debug!(%attachment, syntax = %self.syntax, verity = %self.verity, "mounted");
        let mountpoint = mountpoint.to_owned();
        Ok(Mounted { mountpoint, record, recorded, attachment, verity: self.verity })
    }

    /// Has the image's mount show mapped owners. The objects' owners are never shown, and changes are what they are.
    fn map_owners(&self, image: &OwnedFd) -> Result<()> {
        if self.idmap.is_empty() {
            return Ok(());
        }
        let name = Path::new(&self.source.name);
        let namespace = self.idmap.namespace().map_err(MountError::kernel(MountStep::MapOwners, name))?;
        composefs_linux::mount_attr::map_ids(image, namespace).map_err(|error| {
            match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::INVAL | Errno::NOSYS) => {
                    MountError::MissingFeature { feature: Feature::MappedOwners, source: Some(error) }
                }
                _ => MountError::kernel(MountStep::MapOwners, name)(error),
            }
        })
    }

    /// Opens the root of a fresh mount so that it can be a layer.
    fn usable(
        &self,
        mount: &OwnedFd,
        target: &OwnedFd,
        mountpoint: &Path,
        staged: &mut Staged,
    ) -> Result<OwnedFd> {
        let root = open_root(mount, MountStep::MountOverlay, mountpoint)?;
        if !self.detached {
            place(mount, target, mountpoint)?;
            staged.roots.push(root.try_clone().map_err(MountError::kernel(MountStep::Place, mountpoint))?);
        }
        Ok(root)
    }

    fn open_upper(
        &self,
        names: &OwnedFd,
        target: &OwnedFd,
        mountpoint: &Path,
        staged: &mut Staged,
    ) -> Result<Option<(OwnedFd, OwnedFd)>> {
        match &self.upper {
            None => Ok(None),
            Some(UpperLayer::Directory { upper, work }) => {
                let open = |path: &PathBuf| open_directory(CWD, path, MountStep::OpenUpper, path);
                Ok(Some((open(upper)?, open(work)?)))
            }
            Some(UpperLayer::Temporary) => {
                let context = Context::open(Feature::MountCalls, MountStep::MountTemporary, mountpoint)?;
                if let Some(bytes) = self.temporary_bytes {
                    context.set("size", &bytes.to_string())?;
                }
                let mount = context.mount(MountAttrFlags::empty())?;
                let root = self.usable(&mount, target, mountpoint, staged)?;
                // A mount without a place ends with its own descriptor, whatever else is open on it.
                staged.mounts.push(mount);
                temporary_upper(root.as_fd(), names.as_fd())
                    .map(Some)
                    .map_err(MountError::kernel(MountStep::MountTemporary, mountpoint))
            }
        }
    }

    /// Notes the mount in the repository, if it can be written.
    fn note(&self, record: &MountRecord) -> bool {
        let Some(repository) = &self.source.repository else { return false };
        match record.add(repository, &self.source.id) {
            Ok(recorded) => recorded,
            Err(error) => {
                tracing::warn!(%error, "mount is not recorded: garbage collection does not know that the image is in use");
                false
            }
        }
    }
}

/// Makes upper and work directory in an empty file system. The upper one is what the mount's root looks
/// like, so it takes after the image's.
fn temporary_upper(root: BorrowedFd<'_>, names: BorrowedFd<'_>) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let make = |name: &str| {
        rustix::fs::mkdirat(root, name, Mode::RWXU)?;
        rustix::io::retry_on_intr(|| {
            rustix::fs::openat(
                root,
                name,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        })
    };
    let (upper, work) = (make("upper")?, make("work")?);
    let image = rustix::fs::fstat(names)?;
    rustix::fs::fchown(
        &upper,
        Some(rustix::fs::Uid::from_raw(image.st_uid)),
        Some(rustix::fs::Gid::from_raw(image.st_gid)),
    )?;
    rustix::fs::fchmod(&upper, Mode::from_raw_mode(image.st_mode))?;
    Ok((upper, work))
}

/// Tells whether an image covers the object store's directories when the two are stacked as ordinary layers.
fn hides_store(source: &ImageSource) -> Result<bool> {
    const MAGIC: [u8; 4] = 0xd078_629a_u32.to_le_bytes();
    let mut header = [0; 16];
    let read = rustix::io::pread(&source.image, &mut header, 0)
        .map_err(MountError::kernel(MountStep::ReadImage, &source.name))?;
    match header {
        [a, b, c, d, .., v, 0, 0, 0] if read == 16 && [a, b, c, d] == MAGIC => Ok(v < 2),
        _ => Err(MountError::NotAnImage { name: source.name.clone() }),
    }
}

/// Puts a mount onto an open directory.
fn place(mount: &OwnedFd, target: &OwnedFd, mountpoint: &Path) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
        .map_err(MountError::kernel(MountStep::Place, mountpoint))
}

/// What is needed only while the overlay is made.
#[derive(Debug, Default)]
struct Staged {
    /// Mounts that have no place.
    mounts: Vec<OwnedFd>,
    /// Roots of mounts that have one for the moment.
    roots: Vec<OwnedFd>,
}

impl Drop for Staged {
    fn drop(&mut self) {
        for root in self.roots.drain(..).rev() {
            // By descriptor: exactly this mount, whatever is on top of it. Detached, for the descriptor is open.
            let path = format!("/proc/self/fd/{}", root.as_raw_fd());
            if let Err(error) = rustix::mount::unmount(path, UnmountFlags::DETACH) {
                tracing::warn!(%error, "a layer stays mounted on the mountpoint");
            }
        }
    }
}

impl fmt::Display for MountPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.source.id.to_hex();
        if self.source.name == id {
            writeln!(f, "image: {id}")?;
        } else {
            writeln!(f, "image: {} ({id})", self.source.name)?;
        }
        let attach = match self.attach {
            AttachPolicy::Auto => "from its file, else a loop device",
            AttachPolicy::File => "from its file",
            AttachPolicy::Loop => "through a loop device",
        };
        writeln!(f, "names: EROFS {attach}")?;
        let place = if self.detached { "" } else { ", by way of the mountpoint" };
        writeln!(f, "contents: overlayfs, {}{place}, verity {}", self.syntax, self.verity)?;
        for range in self.idmap.ranges() {
            writeln!(f, "owners: {range}")?;
        }
        match &self.upper {
            None => writeln!(f, "changes: none"),
            Some(UpperLayer::Temporary) => match self.temporary_bytes {
                Some(bytes) => writeln!(f, "changes: kept in memory, at most {bytes} bytes"),
                None => writeln!(f, "changes: kept in memory"),
            },
            Some(UpperLayer::Directory { upper, .. }) if self.access == Access::ReadOnly => {
                writeln!(f, "changes: those in {}", upper.display())
            }
            Some(UpperLayer::Directory { upper, .. }) => writeln!(f, "changes: to {}", upper.display()),
        }
    }
}

impl Serialize for MountPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_struct("MountPlan", 8)?;
        map.serialize_field("image", &self.source.id.to_hex())?;
        map.serialize_field("name", &self.source.name)?;
        let attach = match self.attach {
            AttachPolicy::Auto => "auto",
            AttachPolicy::File => "file",
            AttachPolicy::Loop => "loop",
        };
        map.serialize_field("attach", attach)?;
        map.serialize_field("layers", &self.syntax.to_string())?;
        map.serialize_field("verity", &self.verity.to_string())?;
        map.serialize_field("read_only", &(self.access == Access::ReadOnly))?;
        let upper = self.upper.as_ref().map(|upper| match upper {
            UpperLayer::Temporary => "temporary".to_owned(),
            UpperLayer::Directory { upper, .. } => upper.display().to_string(),
        });
        map.serialize_field("upper", &upper)?;
        let owners: Vec<String> = self.idmap.ranges().iter().map(ToString::to_string).collect();
        map.serialize_field("owners", &owners)?;
        map.end()
    }
}
