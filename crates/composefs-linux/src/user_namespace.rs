//! User namespaces, made for their map of ids or to be gone into: `unshare` and `setns`, which change what all of a
//! process is, and a child to hold a namespace until it is mapped.
#![allow(unsafe_code)]

use std::{
    io::{self, Read as _},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    pipe::{PipeFlags, pipe_with},
};

/// A child in a namespace of its own, which does nothing. It ends, and is waited for, when this is dropped.
struct Holder {
    pid: libc::pid_t,
    /// The child ends when this end of the pipe is closed.
    keep: Option<OwnedFd>,
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.keep.take());
        // SAFETY: waits for our own child; no pointer but null is passed.
        while unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) } < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
}

/// What the child says once it is in its namespace; else the number of its error.
const READY: i32 = 0;

impl Holder {
    fn start() -> io::Result<Self> {
        let (end, keep) = pipe_with(PipeFlags::CLOEXEC)?;
        let (said, say) = pipe_with(PipeFlags::CLOEXEC)?;
        let (end_raw, keep_raw, say_raw) = (end.as_raw_fd(), keep.as_raw_fd(), say.as_raw_fd());
        // SAFETY: the child of a process with several threads may only do what is safe in a signal handler:
        // it makes system calls on numbers and on its own stack, and ends without running anything of ours.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            // SAFETY: as said; the buffers are on this stack and as long as is said.
            unsafe {
                libc::close(keep_raw);
                let done = libc::unshare(libc::CLONE_NEWUSER);
                let word = if done == 0 { READY } else { *libc::__errno_location() };
                libc::write(say_raw, (&raw const word).cast(), size_of::<i32>());
                let mut byte = 0_u8;
                while libc::read(end_raw, (&raw mut byte).cast(), 1) < 0
                    && *libc::__errno_location() == libc::EINTR
                {}
                libc::_exit(0)
            }
        }
        drop((end, say));
        let holder = Self { pid, keep: Some(keep) };
        let mut word = [0; size_of::<i32>()];
        std::fs::File::from(said).read_exact(&mut word)?;
        match i32::from_ne_bytes(word) {
            READY => Ok(holder),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Makes a user namespace and returns it open. `map` gets the number of a process in it, whose `uid_map` and `gid_map`
/// it writes.
///
/// # Errors
/// The kernel's: `EPERM`, `ENOSPC`, `EUSERS` where no (more) user namespaces may be made; what `map` gives.
#[doc(alias = "CLONE_NEWUSER")]
pub fn create<E: From<io::Error>>(map: impl FnOnce(u32) -> Result<(), E>) -> Result<OwnedFd, E> {
    let holder = Holder::start()?;
    let pid = u32::try_from(holder.pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    map(pid)?;
    let path = format!("/proc/{pid}/ns/user");
    let namespace = rustix::io::retry_on_intr(|| {
        rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    });
    Ok(namespace.map_err(io::Error::from)?)
}

/// Takes this process into a user namespace, and into a mount namespace of its own there.
///
/// The process must have one thread, or the kernel refuses.
///
/// # Errors
/// The kernel's: `EINVAL` several threads, or the process is in that namespace; `EPERM` the namespace is not the
/// caller's.
#[doc(alias = "setns")]
#[doc(alias = "CLONE_NEWNS")]
pub fn enter(namespace: impl AsFd) -> io::Result<()> {
    // SAFETY: the call takes a number and flags, and concerns the credentials of this process only.
    if unsafe { libc::setns(namespace.as_fd().as_raw_fd(), libc::CLONE_NEWUSER) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above; a new mount namespace is a copy, in which every open descriptor stays what it is.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Leaves all groups but the process's own.
///
/// # Errors
/// The kernel's: `EPERM` without `CAP_SETGID`, or in a namespace where groups may not be left.
#[doc(alias = "setgroups")]
pub fn drop_groups() -> io::Result<()> {
    // SAFETY: a list of no groups is not read.
    if unsafe { libc::setgroups(0, std::ptr::null()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_mapped_from_outside() {
        let mut before = String::new();
        let made = create(|pid| -> io::Result<()> {
            before = std::fs::read_to_string(format!("/proc/{pid}/uid_map"))?;
            let mine = std::fs::read_link("/proc/self/ns/user")?;
            assert_ne!(mine, std::fs::read_link(format!("/proc/{pid}/ns/user"))?);
            Ok(())
        });
        match made {
            Ok(_) => assert_eq!(before, "", "nothing is mapped at first"),
            // Some machines let nobody make them.
            Err(error) => assert!(
                [Some(libc::EPERM), Some(libc::ENOSPC), Some(libc::EUSERS)].contains(&error.raw_os_error()),
                "{error}"
            ),
        }
    }

    #[test]
    fn what_the_map_says_is_what_is_said() {
        let failed = create(|_| Err(io::Error::other("no map")));
        assert!(failed.is_err());
    }

    #[test]
    fn other_files_are_no_namespaces() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(enter(&null).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
