//! Modes do not depend on the umask; alone in its program, since the umask is the process's.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt as _};

use composefs::{
    digest::Algorithm,
    name::{RefName, StreamName},
    repo::{InitOptions, OpenOptions, Repository, init},
};
use rustix::{fs::CWD, fs::Mode, process::umask};

#[test]
fn everybody_may_read() {
    umask(Mode::from_raw_mode(0o077));
    let directory = tempfile::tempdir().unwrap();
    init(CWD, directory.path(), &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
    let repository = Repository::open(CWD, directory.path(), &OpenOptions::default()).unwrap();
    let writer = repository.into_writer().unwrap();
    let id = writer.store_bytes(&[1; 100]).unwrap().id;
    let name = StreamName::new("x").unwrap();
    let mut commit = writer.begin();
    commit.stream_ref(RefName::new("a/b").unwrap(), &name).stream(name, id);
    commit.finish().unwrap();
    let mode = |path: &str| fs::metadata(directory.path().join(path)).unwrap().permissions().mode() & 0o7777;
    for path in ["meta.json".to_owned(), format!("objects/{}", id.object_path())] {
        assert_eq!(mode(&path), 0o644, "{path}");
    }
    let prefix = format!("objects/{}", id.object_directory());
    for path in ["objects", &prefix, "streams", "streams/refs", "streams/refs/a"] {
        assert_eq!(mode(path), 0o755, "{path}");
    }
}
