//! Locks of an open file description, which rustix lacks: those of `fcntl` that a process does not lose by closing
//! another descriptor of the same file.
#![allow(unsafe_code)]

use std::{
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd},
};

/// Takes a shared lock on the whole file if nobody holds it exclusively; tells whether it was taken.
///
/// The lock belongs to the open file description and goes with its last descriptor. The file must be open for
/// reading.
///
/// # Errors
/// The kernel's: `EBADF` not open for reading, `EINVAL` a kernel before 3.15; `Unsupported` where offsets of files
/// have 32 bits.
#[doc(alias = "F_OFD_SETLK")]
pub fn try_lock_shared(file: impl AsFd) -> io::Result<bool> {
    match set(file, libc::F_OFD_SETLK) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits for a shared lock on the whole file, as [`try_lock_shared`].
///
/// # Errors
/// As [`try_lock_shared`]; `Interrupted` if a signal came first.
#[doc(alias = "F_OFD_SETLKW")]
pub fn lock_shared(file: impl AsFd) -> io::Result<()> {
    set(file, libc::F_OFD_SETLKW)
}

fn set(file: impl AsFd, command: libc::c_int) -> io::Result<()> {
    if size_of::<libc::off_t>() != 8 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // No length: to the end of the file, wherever that will be. The kernel insists on no process.
    let lock = libc::flock {
        l_type: libc::F_RDLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open for the length of the call, and the kernel only reads the struct, which is the
    // one that these commands take where offsets have 64 bits.
    let result = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), command, &raw const lock) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_keep_writers_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        std::fs::write(&path, b"").unwrap();
        let (one, two) = (std::fs::File::open(&path).unwrap(), std::fs::File::open(&path).unwrap());
        assert!(try_lock_shared(&one).unwrap());
        assert!(try_lock_shared(&two).unwrap());
        // A third descriptor of the process, closed again, takes nothing away.
        drop(std::fs::File::open(&path).unwrap());
        let writes = || {
            let script = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)";
            let mut command = std::process::Command::new("python3");
            command.args(["-c", script]).arg(&path).stderr(std::process::Stdio::null());
            command.status().unwrap().success()
        };
        if composefs_testkit::peers::program_or_skip("python3").is_none() {
            return;
        }
        assert!(!writes());
        drop(one);
        assert!(!writes());
        drop(two);
        assert!(writes());
    }

    #[test]
    fn a_file_open_for_writing_alone_cannot_be_shared() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("x")).unwrap();
        assert_eq!(lock_shared(&file).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
