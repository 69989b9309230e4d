//! Where tests put their repositories: on a file system that may have fs-verity, which `/tmp` often has not.

use std::{env, path::PathBuf};

use tempfile::TempDir;

/// Makes a temporary directory named `composefs-test-…` in `$CFS_TEST_TMPDIR`, else in `$HOME/.var/tmp`, which is
/// made if it is missing.
///
/// # Panics
/// When there is no such place: this is for tests.
#[must_use]
#[allow(clippy::expect_used, clippy::disallowed_methods)]
pub fn tempdir() -> TempDir {
    let parent = env::var_os("CFS_TEST_TMPDIR").map_or_else(
        || PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".var/tmp"),
        PathBuf::from,
    );
    std::fs::create_dir_all(&parent).expect("the directory of temporaries can be made");
    tempfile::Builder::new()
        .prefix("composefs-test-")
        .tempdir_in(parent)
        .expect("a temporary directory can be made")
}
