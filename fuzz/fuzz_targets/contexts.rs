//! Policies that label files: no input panics, takes memory or time without bounds, and labels come from the policy.
//!
//! The input is the files of a policy with a NUL between two: contexts, local ones, those of homes, substitutions,
//! substitutions of the distribution.
#![allow(clippy::unwrap_used, unreachable_pub)]

use composefs::{
    digest::Algorithm,
    dumpfile,
    filetree::{
        Inode, InodeKind, Name, Regular, Stat,
        boot::{BootLimits, SELINUX_XATTR, boot_transform},
    },
};

const TREE: &str = "/ 0 40755 2 0 0 0 0.0 - - -
/boot 0 40755 2 0 0 0 0.0 - - -
/boot/x 0 100644 1 0 0 0 0.0 - - -
/etc 0 40755 2 0 0 0 0.0 - - -
/etc/selinux 0 40755 2 0 0 0 0.0 - - -
/etc/selinux/config 21 100644 1 0 0 0 0.0 - SELINUXTYPE=targeted\\n -
/etc/selinux/targeted 0 40755 2 0 0 0 0.0 - - -
/etc/selinux/targeted/contexts 0 40755 2 0 0 0 0.0 - - -
/etc/selinux/targeted/contexts/files 0 40755 2 0 0 0 0.0 - - -
/etc/x.conf 0 100644 1 0 0 0 0.0 - - - security.selinux=old
/lib 7 120777 1 0 0 0 0.0 usr/lib - -
/sysroot 0 40755 2 0 0 0 0.0 - - -
/usr 0 40755 2 0 0 0 0.0 - - -
/usr/lib 0 40755 2 0 0 0 0.0 - - -
/usr/lib/libc.so.6 0 100755 1 0 0 0 0.0 - - -
/usr/n\\x0al\\xff 0 10644 1 0 0 0 0.0 - - -
/usr/null 0 20600 1 0 0 259 0.0 - - -
";
const FILES: [&str; 5] = ["", ".local", ".homedirs", ".subs", ".subs_dist"];

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut tree = dumpfile::parse(TREE.as_bytes(), Algorithm::Sha256).unwrap().tree;
    let directory = tree.lookup(&[b"etc", b"selinux", b"targeted", b"contexts", b"files"]).unwrap();
    for (suffix, contents) in FILES.iter().zip(data.split(|&byte| byte == 0)) {
        let name = Name::new(format!("file_contexts{suffix}").as_bytes()).unwrap();
        let kind = InodeKind::Regular(Regular::Inline(contents.into()));
        tree.insert(directory, name, Inode { stat: Stat::default(), kind }).unwrap();
    }
    let limits = BootLimits::default().file_bytes(1 << 16).specs(100).compiled_bytes(1 << 18);
    match boot_transform(&mut tree, &mut |_, _| unreachable!("all is in the tree"), &limits) {
        Ok(()) => {
            for step in tree.depth_first() {
                let label = tree.inode(step.inode).stat.xattrs.get(SELINUX_XATTR);
                // libselinux counts the NUL at its end.
                let label = label.map(|label| label.strip_suffix(b"\0").unwrap_or(label));
                assert!(
                    label.is_none_or(|label| data.windows(label.len().max(1)).any(|there| there == label))
                );
            }
        }
        Err(error) => drop(error.to_string()),
    }
}
