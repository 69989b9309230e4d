//! The directory of a bundle.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// Where the root file system is, in the bundle.
pub(crate) const ROOTFS: &str = "rootfs";

/// What runtimes read.
const CONFIG: &str = "config.json";

/// Makes the directory of a bundle with what runtimes read; it has to be missing or empty. Nothing is left if it does
/// not work.
pub(crate) fn write(directory: &Path, config: &[u8]) -> anyhow::Result<()> {
    let mine = |directory: &Path| DirBuilder::new().mode(0o700).create(directory);
    match mine(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let mut entries =
                std::fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
            if entries.next().is_some() {
                bail!("{} is not empty", directory.display());
            }
        }
        Err(error) => return Err(error).with_context(|| format!("make {}", directory.display())),
    }
    let fill = || -> std::io::Result<()> {
        // Whoever runs in it has not to be who made it.
        DirBuilder::new().mode(0o755).create(directory.join(ROOTFS))?;
        // Variables can be secrets.
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(directory.join(CONFIG))?;
        file.write_all(config)
    };
    fill().map_err(|error| {
        remove(directory);
        anyhow::Error::new(error).context(format!("write a bundle to {}", directory.display()))
    })
}

/// Removes a bundle that came to nothing, and nothing else that is there.
pub(crate) fn remove(directory: &Path) {
    let _ = std::fs::remove_file(directory.join(CONFIG));
    let _ = std::fs::remove_dir(directory.join(ROOTFS));
    let _ = std::fs::remove_dir(directory);
}

/// Makes a directory for a bundle that lasts as long as a run: where the system keeps what ends with it, if that can
/// be written.
pub(crate) fn place() -> anyhow::Result<TempDir> {
    let prefix = tempfile::Builder::new().prefix("cfsctl-").rand_bytes(12).to_owned();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let places = if rustix::process::geteuid().is_root() { Some(PathBuf::from("/run")) } else { runtime };
    if let Some(made) = places.and_then(|place| prefix.tempdir_in(place).ok()) {
        return Ok(made);
    }
    prefix.tempdir().context("make a directory for the bundle")
}
