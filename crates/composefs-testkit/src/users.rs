//! Programs run as an ordinary user by tests that are root.

use crate::{peers, require};
use std::path::Path;
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

/// Returns a command that runs a program as an ordinary user who may use FUSE, with subordinate ids or without; `work`
/// is a directory of the caller's that takes a few files. `None` skips the calling test.
///
/// The program must be where that user can reach it.
#[must_use]
pub fn command_or_skip(work: &Path, subordinate_ids: bool, program: &Path) -> Option<Command> {
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
