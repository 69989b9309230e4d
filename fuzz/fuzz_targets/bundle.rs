//! What a bundle is made of: users and groups of an image, profiles of system calls. No input panics, and an account is
//! one of the files' or of the numbers asked for.
#![allow(unreachable_pub)]

use composefs_oci::bundle::{seccomp, user};

/// Runs one input: the user asked for on the first line, then `/etc/passwd`, an empty line, `/etc/group`; or a profile.
pub fn run(data: &[u8]) {
    if data.first() == Some(&b'{') {
        match seccomp::decide("input", data, &["SYS_ADMIN".to_owned()].into()) {
            Ok(decided) => assert!(serde_json::to_vec(&decided).is_ok()),
            Err(error) => drop(error.to_string()),
        }
        return;
    }
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (wish, files) = data.split_at(end);
    let Ok(wish) = std::str::from_utf8(wish) else { return };
    let parting = files.windows(2).position(|pair| pair == b"\n\n").unwrap_or(files.len());
    let (passwd, group) = files.split_at(parting);
    match user::look_up(wish, passwd, group) {
        Ok(account) => {
            assert!(account.uid != u32::MAX && account.gid != u32::MAX);
            assert!(account.groups.len() <= 65_536 && !account.groups.contains(&account.gid));
        }
        Err(error) => drop(error.to_string()),
    }
}
