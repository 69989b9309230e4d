//! A file system being configured: the new mount calls, with what the kernel says about them.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags},
};

use super::{
    error::{MountError, MountStep, Result},
    feature::Feature,
};

/// The most messages taken from one context; the kernel keeps eight.
const MESSAGES_MAX: usize = 16;

/// A file system that is being configured.
#[derive(Debug)]
pub(crate) struct Context {
    fd: OwnedFd,
    step: MountStep,
    subject: PathBuf,
}

impl Context {
    /// Begins to configure a file system; `step` and `subject` go into errors.
    #[doc(alias = "fsopen")]
    pub(crate) fn open(filesystem: Feature, step: MountStep, subject: &Path) -> Result<Self> {
        let name = match filesystem {
            Feature::Erofs => "erofs",
            Feature::Overlay => "overlay",
            _ => "tmpfs",
        };
        match rustix::mount::fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(fd) => Ok(Self { fd, step, subject: subject.to_owned() }),
            Err(Errno::NOSYS) => Err(MountError::MissingFeature {
                feature: Feature::MountCalls,
                source: Some(Errno::NOSYS.into()),
            }),
            Err(Errno::NODEV) => {
                Err(MountError::MissingFeature { feature: filesystem, source: Some(Errno::NODEV.into()) })
            }
            Err(error) => Err(MountError::kernel(step, subject)(error)),
        }
    }

    fn result<T>(&self, result: rustix::io::Result<T>) -> Result<T> {
        result.map_err(|error| {
            MountError::of(self.step, self.subject.clone(), self.messages(), io::Error::from(error))
        })
    }

    /// Takes what the kernel wrote about this context, the severity letter left out.
    fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        let mut buffer = [0; 1024];
        while messages.len() < MESSAGES_MAX
            && let Ok(length) = rustix::io::read(&self.fd, &mut buffer)
            && let Some(text) = buffer.get(..length)
        {
            let text = String::from_utf8_lossy(text);
            let text = text.trim_end();
            messages.push(text.get(2..).unwrap_or(text).to_owned());
        }
        messages
    }

    /// Sets an option to a text.
    pub(crate) fn set(&self, key: &str, value: &str) -> Result<()> {
        self.result(rustix::mount::fsconfig_set_string(&self.fd, key, value))
    }

    /// Sets an option that has no value.
    pub(crate) fn set_flag(&self, key: &str) -> Result<()> {
        self.result(rustix::mount::fsconfig_set_flag(&self.fd, key))
    }

    /// Sets an option to an open file, which must not be one opened for its path only.
    pub(crate) fn set_fd(&self, key: &str, value: impl AsFd) -> Result<()> {
        self.result(rustix::mount::fsconfig_set_fd(&self.fd, key, value))
    }

    /// Makes the file system, and a mount of it that has no place yet.
    #[doc(alias = "fsmount")]
    pub(crate) fn mount(self, attributes: MountAttrFlags) -> Result<OwnedFd> {
        self.result(rustix::mount::fsconfig_create(&self.fd))?;
        self.result(rustix::mount::fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes))
    }
}

/// Opens the root of a mount as an ordinary directory: layers cannot be given as a mount's own descriptor.
pub(crate) fn open_root(mount: impl AsFd, step: MountStep, subject: &Path) -> Result<OwnedFd> {
    open_directory(mount, c".", step, subject)
}

/// Opens a directory for reading.
pub(crate) fn open_directory(
    at: impl AsFd,
    path: impl rustix::path::Arg + Copy,
    step: MountStep,
    subject: &Path,
) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::io::retry_on_intr(|| rustix::fs::openat(&at, path, flags, Mode::empty()))
        .map_err(MountError::kernel(step, subject))
}
