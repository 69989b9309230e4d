//! What befalls a repository between operations, for `repair` to mend. What was done is durable when it returns, and
//! done again it comes to the same.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use composefs_testkit::{images::sha256, sample};

/// A kind of harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// An object with other bytes, one that is cut, one that is gone, one that lost its fs-verity.
    Damage,
    /// No fs-verity anywhere: the repository is an insecure one.
    Bare,
}

impl Harm {
    /// Does it.
    pub(crate) fn befall(self, repo: &Path) {
        match self {
            Self::Damage => damage(repo),
            Self::Bare => bare(repo),
        }
        assert!(Command::new("sync").status().unwrap().success());
    }
}

/// Returns the objects with their sizes.
fn objects(repo: &Path) -> Vec<(u64, PathBuf)> {
    let mut objects = Vec::new();
    for directory in fs::read_dir(repo.join("objects")).unwrap() {
        let directory = directory.unwrap().path();
        if !directory.is_dir() {
            continue;
        }
        for file in fs::read_dir(directory).unwrap() {
            let file = file.unwrap();
            objects.push((file.metadata().unwrap().len(), file.path()));
        }
    }
    objects.sort();
    objects
}

/// Puts contents in the place of a file, which loses its fs-verity.
fn put(repo: &Path, path: &Path, contents: &[u8]) {
    let temporary = repo.join("objects/.tmp-object-harm");
    fs::write(&temporary, contents).unwrap();
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644)).unwrap();
    File::open(&temporary).unwrap().sync_all().unwrap();
    fs::rename(&temporary, path).unwrap();
}

fn damage(repo: &Path) {
    for (size, path) in objects(repo) {
        match size {
            // The large file of `two`.
            1_200_000 => {
                let mut contents = fs::read(&path).unwrap();
                contents[5000..5004].copy_from_slice(b"ROT!");
                put(repo, &path, &contents);
            }
            // The words of the sample.
            13_000..14_000 => put(repo, &path, &fs::read(&path).unwrap()),
            _ => {}
        }
    }
    // That of files cannot be made again.
    let files = fs::read_link(repo.join("images/refs/made/of/files")).unwrap();
    let images = fs::read_dir(repo.join("images")).unwrap().map(|entry| entry.unwrap().path());
    let mut images: Vec<PathBuf> =
        images.filter(|path| path.is_symlink() && path.file_name() != files.file_name()).collect();
    images.sort();
    let _ = fs::remove_file(repo.join("images").join(fs::read_link(&images[0]).unwrap()));
    let layer = repo.join(format!("streams/oci-layer-{}", sha256(&sample::lower())));
    put(repo, &fs::canonicalize(layer).unwrap(), &[0; 100]);
}

fn bare(repo: &Path) {
    for (_, path) in objects(repo) {
        put(repo, &path, &fs::read(&path).unwrap());
    }
    let meta = repo.join("meta.json");
    put(repo, &meta, &fs::read(&meta).unwrap());
}
