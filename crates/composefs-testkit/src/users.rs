//! Programs run as an ordinary user by tests that are root.

use crate::{peers, require};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user's number, and the group's.
pub const USER: u32 = 4321;

/// How many subordinate ids the user has where there are any.
pub const SUBORDINATE: u32 = 65536;

/// Run in a mount namespace: FUSE for everyone, whatever the machine has, and a user with ids or without.
const SCRIPT: &str = r#"
set -e
work=$1 ids=$2
shift 2
mknod -m 666 "$work/.fuse" c 10 229
mount --bind "$work/.fuse" /dev/fuse
{ cat /etc/passwd; echo "tester:x:4321:4321::/:/bin/sh"; } >"$work/.passwd"
mount --bind "$work/.passwd" /etc/passwd
for file in subuid subgid; do
  if [ "$ids" = ids ]; then echo "tester:500000:65536"; fi >"$work/.$file"
  [ -e "/etc/$file" ] || touch "/etc/$file"
  mount --bind "$work/.$file" "/etc/$file"
done
exec setpriv --reuid 4321 --regid 4321 --clear-groups "$@"
"#;

/// A directory that everybody may use, with another to work in.
#[derive(Debug)]
pub struct Room {
    directory: tempfile::TempDir,
    work: PathBuf,
}

impl Room {
    /// Makes one; it goes away when this is dropped.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let open = |path: &Path| std::fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        open(directory.path());
        let work = directory.path().join("work");
        std::fs::create_dir(&work).unwrap();
        open(&work);
        Self { directory, work }
    }

    /// Returns the directory to work in.
    #[must_use]
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Returns a command that runs this test program, as [`Room::program_or_skip`] does: where it was built, others may not
    /// look, so it is copied.
    ///
    /// # Panics
    /// When it cannot be copied.
    #[must_use]
    pub fn this_program_or_skip(&self, subordinate_ids: bool) -> Option<Command> {
        let program = self.directory.path().join("program");
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        self.program_or_skip(subordinate_ids, &program)
    }

    /// Returns a command that runs a program as an ordinary user who may use FUSE, with subordinate ids or without. `None`
    /// skips the calling test.
    ///
    /// The program must be where that user can reach it.
    #[must_use]
    pub fn program_or_skip(&self, subordinate_ids: bool, program: &Path) -> Option<Command> {
        command_or_skip(self.directory.path(), subordinate_ids, program)
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

fn command_or_skip(work: &Path, subordinate_ids: bool, program: &Path) -> Option<Command> {
    for tool in ["unshare", "setpriv", "mount", "mknod"] {
        peers::program_or_skip(tool)?;
    }
    if !rustix::process::geteuid().is_root() || std::fs::metadata("/dev/fuse").is_err() {
        require::skip("needs root and /dev/fuse to become a user who mounts");
        return None;
    }
    let mut command = Command::new("unshare");
    let ids = if subordinate_ids { "ids" } else { "none" };
    command.args(["--mount", "sh", "-c", SCRIPT, "sh"]).arg(work).arg(ids).arg(program).current_dir(work);
    Some(command)
}
