//! `/dev/fuse`, and the two ways to a mount: by the process itself, and by `fusermount3` for users.

use std::{
    io::{self, IoSliceMut, Read as _},
    mem::MaybeUninit,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
    process::{Command, Stdio},
};

use rustix::{
    fs::{Mode, OFlags},
    io::{Errno, FdFlags},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
        recvmsg, socketpair,
    },
};

use crate::error::{FuseError, FuseStep, Result};

/// The device.
const DEVICE: &str = "/dev/fuse";
/// Set-user-id root; lets users mount.
pub(crate) const HELPER: &str = "fusermount3";
/// Where the helper finds the socket that it sends the device over.
const HELPER_SOCKET: &str = "_FUSE_COMMFD";
/// The most that is read of what the helper says.
const MESSAGE_MAX: u64 = 4096;

/// A mount that the kernel sends the requests of to `device`.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) device: OwnedFd,
    /// The mount, as long as it has no place; `None` if it has one already.
    pub(crate) mount: Option<OwnedFd>,
    /// Whether everyone may look, and the kernel checks permissions.
    pub(crate) everyone: bool,
}

/// Makes the mount by the process itself. `None` if it may not.
///
/// `source` is what mount tables show.
pub(crate) fn direct(source: &str, everyone: bool) -> Result<Option<Attached>> {
    let device = match rustix::io::retry_on_intr(|| {
        rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
    }) {
        Ok(device) => device,
        Err(Errno::ACCESS | Errno::PERM) => return Ok(None),
        Err(error) => return Err(FuseError::io(FuseStep::OpenDevice, DEVICE)(error)),
    };
    match configure(&device, source, everyone) {
        Ok(mount) => Ok(Some(Attached { device, mount: Some(mount), everyone })),
        Err(Errno::PERM) => Ok(None),
        Err(error) => Err(FuseError::io(FuseStep::Mount, source)(error)),
    }
}

fn configure(device: &OwnedFd, source: &str, everyone: bool) -> rustix::io::Result<OwnedFd> {
    use rustix::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = &context;
    fsconfig_set_string(context, "source", source)?;
    fsconfig_set_string(context, "subtype", "composefs")?;
    fsconfig_set_string(context, "fd", device.as_raw_fd().to_string())?;
    fsconfig_set_string(context, "rootmode", "40000")?;
    fsconfig_set_string(context, "user_id", rustix::process::geteuid().as_raw().to_string())?;
    fsconfig_set_string(context, "group_id", rustix::process::getegid().as_raw().to_string())?;
    fsconfig_set_flag(context, "ro")?;
    if everyone {
        fsconfig_set_flag(context, "allow_other")?;
        fsconfig_set_flag(context, "default_permissions")?;
    }
    fsconfig_create(context)?;
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Has `fusermount3` make the mount at its place.
pub(crate) fn by_helper(source: &str, mountpoint: &Path, everyone: bool) -> Result<Attached> {
    let failed = |error| FuseError::io(FuseStep::Helper, HELPER)(error);
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None).map_err(failed)?;
    rustix::io::fcntl_setfd(&ours, FdFlags::CLOEXEC).map_err(failed)?;
    // A comma ends an option, a backslash escapes it.
    let mut options =
        format!("ro,subtype=composefs,fsname={}", source.replace('\\', "\\\\").replace(',', "\\,"));
    if everyone {
        options.push_str(",allow_other,default_permissions");
    }
    let mut helper = Command::new(HELPER)
        .args(["-o", &options, "--"])
        .arg(mountpoint)
        .env(HELPER_SOCKET, theirs.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| FuseError::io(FuseStep::Helper, HELPER)(error))?;
    drop(theirs);
    let received = receive(&ours);
    let mut message = Vec::new();
    if let Some(stderr) = helper.stderr.take() {
        let _ = stderr.take(MESSAGE_MAX).read_to_end(&mut message);
    }
    let _ = helper.wait();
    match received {
        Ok(Some(device)) => Ok(Attached { device, mount: None, everyone }),
        Ok(None) => {
            let message = String::from_utf8_lossy(&message).trim().to_owned();
            Err(FuseError::Refused { path: mountpoint.to_owned(), message })
        }
        Err(error) => Err(FuseError::io(FuseStep::Helper, HELPER)(error)),
    }
}

/// Receives an open file over a socket; `None` at its end.
fn receive(socket: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    }))
}
