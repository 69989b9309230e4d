//! A user namespace in which an ordinary user is root, and a mount namespace in it.
//!
//! Ids come from `/etc/subuid` and `/etc/subgid`, by `newuidmap` and `newgidmap`. Where there are none the namespace has
//! one id, the user's own as 0.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    process::{Command, Stdio},
};

use composefs_linux::user_namespace;
use rustix::{
    fs::{Mode, OFlags},
    mount::MountPropagationFlags,
};

use crate::error::{FuseError, FuseStep, Result};

/// The most bytes read of a file of accounts.
const ACCOUNTS_MAX: u64 = 16 << 20;
/// The most ranges that are asked for.
const RANGES_MAX: usize = 16;

/// Which ids a namespace has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// The user as 0, and the subordinate ids from 1 on.
    Ranges {
        /// How many users there are, 0 included.
        uids: u32,
        /// How many groups there are, 0 included.
        gids: u32,
    },
    /// The user as 0 and nobody else: files of other owners are shown as nobody's, and owners cannot be changed.
    One {
        /// Why there are no more.
        reason: String,
    },
}

/// A run of subordinate ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u32,
    size: u32,
}

/// Makes this process root in a user namespace of its own, with a mount namespace of its own. Mounts made there are
/// nobody else's, and go away with the last process in there; later mounts outside appear inside.
///
/// The process must have one thread, and it stays in there for good, as do its children.
///
/// # Errors
/// [`FuseError::Io`] with the step. Having no subordinate ids is none: [`Ids::One`] says why.
pub fn enter_user_namespace() -> Result<Ids> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (namespace, ids) = match ranges(uid) {
        Ok((uids, gids)) => match mapped(uid, gid, &uids, &gids) {
            Ok(namespace) => (namespace, Ids::Ranges { uids: total(&uids), gids: total(&gids) }),
            // The helper is missing or refuses: there is one id that needs none.
            Err(FuseError::Io { step: FuseStep::Helper, path, source }) => {
                (single(uid, gid)?, Ids::One { reason: format!("{}: {source}", path.display()) })
            }
            Err(error) => return Err(error),
        },
        Err(reason) => (single(uid, gid)?, Ids::One { reason }),
    };
    user_namespace::enter(&namespace).map_err(FuseError::io(FuseStep::EnterNamespace, ""))?;
    if matches!(ids, Ids::Ranges { .. }) {
        user_namespace::drop_groups().map_err(FuseError::io(FuseStep::EnterNamespace, ""))?;
    }
    let private = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(FuseError::io(FuseStep::EnterNamespace, "/"))?;
    Ok(ids)
}

fn total(ranges: &[Range]) -> u32 {
    ranges.iter().fold(1, |sum, range| sum.saturating_add(range.size))
}

/// Makes a namespace with ranges of ids, by the helpers.
fn mapped(uid: u32, gid: u32, uids: &[Range], gids: &[Range]) -> Result<std::os::fd::OwnedFd> {
    make(|pid| {
        help("newuidmap", pid, uid, uids)?;
        help("newgidmap", pid, gid, gids)
    })
}

/// Makes a namespace with one id.
fn single(uid: u32, gid: u32) -> Result<std::os::fd::OwnedFd> {
    make(|pid| {
        let write = |name: &str, text: String| {
            let path = format!("/proc/{pid}/{name}");
            let file = rustix::io::retry_on_intr(|| {
                rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            });
            file.and_then(|file| rustix::io::write(&file, text.as_bytes()))
                .map_err(FuseError::io(FuseStep::MapIds, path))
        };
        // The kernel wants to be sure that nobody gets at files by leaving a group.
        write("setgroups", "deny".to_owned())?;
        write("uid_map", format!("0 {uid} 1"))?;
        write("gid_map", format!("0 {gid} 1"))?;
        Ok(())
    })
}

/// What making a namespace gives: our error, or one of the kernel's about the namespace itself.
struct Failed(FuseError);

impl From<io::Error> for Failed {
    fn from(source: io::Error) -> Self {
        Self(FuseError::Io { step: FuseStep::MakeNamespace, path: "".into(), source })
    }
}

fn make(map: impl FnOnce(u32) -> Result<()>) -> Result<std::os::fd::OwnedFd> {
    user_namespace::create(|pid| map(pid).map_err(Failed)).map_err(|Failed(error)| error)
}

/// Runs `newuidmap` or `newgidmap`: 0 is `own`, 1 and up the ranges.
fn help(program: &str, pid: u32, own: u32, ranges: &[Range]) -> Result<()> {
    let mut arguments = vec![pid, 0, own, 1];
    let mut inside = 1_u32;
    for range in ranges {
        arguments.extend([inside, range.first, range.size]);
        inside = inside.saturating_add(range.size);
    }
    let run = Command::new(program)
        .args(arguments.iter().map(u32::to_string))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(FuseError::io(FuseStep::Helper, program))?;
    if run.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&run.stderr).trim().to_owned();
    Err(FuseError::io(FuseStep::Helper, program)(io::Error::other(said)))
}

/// Finds the subordinate ids of a user, or says why there are none.
fn ranges(uid: u32) -> Result<(Vec<Range>, Vec<Range>), String> {
    let name = read("/etc/passwd").ok().and_then(|text| account(&text, uid)).unwrap_or_default();
    let of = |path: &str| {
        let text = read(path).map_err(|error| format!("{path}: {error}"))?;
        let found = subordinate(&text, &name, uid);
        if found.is_empty() { Err(format!("{path} has no ids for user {uid}")) } else { Ok(found) }
    };
    Ok((of("/etc/subuid")?, of("/etc/subgid")?))
}

fn read(path: &str) -> io::Result<String> {
    let file = rustix::io::retry_on_intr(|| {
        rustix::fs::open(Path::new(path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    })?;
    let mut bytes = Vec::new();
    File::from(file).take(ACCOUNTS_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Finds a user's name in the notation of `/etc/passwd`.
fn account(text: &str, uid: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Finds a user's ranges in the notation of `/etc/subuid`: lines of name or number, first id, size.
fn subordinate(text: &str, name: &str, uid: u32) -> Vec<Range> {
    let number = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let whose = fields.next()?;
            if whose != number && (whose != name || name.is_empty()) {
                return None;
            }
            let range = Range { first: fields.next()?.parse().ok()?, size: fields.next()?.parse().ok()? };
            (range.size > 0 && fields.next().is_none()).then_some(range)
        })
        .take(RANGES_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_number() {
        let text = "root:x:0:0:root:/root:/bin/sh\n\n:x:7:\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(account(text, 1000).as_deref(), Some("ann"));
        assert_eq!(account(text, 0).as_deref(), Some("root"));
        assert_eq!(account(text, 7), None);
        assert_eq!(account(text, 1), None);
    }

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text =
            "ann:100000:65536\nbob:200000:65536\n1000:300000:10\nann:4:0\nann:x:1\nann:1\nann:1:2:3\n:5:5\n";
        let range = |first, size| Range { first, size };
        assert_eq!(subordinate(text, "ann", 1000), [range(100_000, 65536), range(300_000, 10)]);
        assert_eq!(subordinate(text, "", 1001), []);
        assert_eq!(subordinate("", "ann", 1000), []);
        assert_eq!(total(&subordinate(text, "ann", 1000)), 65547);
    }
}
