//! The other implementations, where they are installed: found, never fetched.

use crate::require;
use std::path::{Path, PathBuf};

/// The variable that names cfsctl 0.9; without it, the place where `.ci/run` puts it is looked at.
pub const CFSCTL: &str = "COMPOSEFS_PEER_CFSCTL";

/// Returns the path of composefs-rs's cfsctl 0.9, or skips the calling test.
#[must_use]
pub fn cfsctl_or_skip() -> Option<PathBuf> {
    let named = std::env::var_os(CFSCTL).map(PathBuf::from);
    let usual = std::env::home_dir().map(|home| home.join(".cache/composefs-peers/cfsctl-0.9/bin/cfsctl"));
    let found = named.or(usual).filter(|path| path.is_file());
    if found.is_none() {
        require::skip("needs cfsctl 0.9 (COMPOSEFS_PEER_CFSCTL, or as .ci/run installs it)");
    }
    found
}

/// Returns the path of skopeo, or skips the calling test.
#[must_use]
pub fn skopeo_or_skip() -> Option<PathBuf> {
    program_or_skip("skopeo")
}

/// Returns the path of the program `name`, or skips the calling test.
#[must_use]
pub fn program_or_skip(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        require::skip(&format!("needs {name}"));
    }
    found
}

/// Looks `name` up in `PATH`, and in the places of system programs that a user's `PATH` may lack.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| executable(file))
}

fn executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
