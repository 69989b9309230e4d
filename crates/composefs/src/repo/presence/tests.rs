use rustix::fs::CWD;

use super::*;
use crate::{
    digest::Algorithm,
    repo::{InitOptions, OpenOptions, Writer, init},
};

fn writer(directory: &tempfile::TempDir, algorithm: Algorithm) -> Writer {
    init(CWD, directory.path(), &InitOptions::new(algorithm).insecure(true).ensure(true)).unwrap();
    Repository::open(CWD, directory.path(), &OpenOptions::default()).unwrap().into_writer().unwrap()
}

/// Few and many of what is there, so that directories are read and names looked at; and each way to be missing.
#[test]
fn all_or_not() {
    for algorithm in Algorithm::ALL {
        let directory = tempfile::tempdir().unwrap();
        let writer = writer(&directory, algorithm);
        let ids: Vec<ObjectId> =
            (0..4000_u32).map(|n| writer.store_bytes(&n.to_le_bytes().repeat(9)).unwrap().id).collect();
        let absent = crate::digest::object_id_of(algorithm, b"absent");
        assert!(writer.has_objects([]).unwrap());
        for step in [1, 3, 40, 1000] {
            let some = || ids.iter().copied().step_by(step);
            assert!(writer.has_objects(some()).unwrap(), "{algorithm} {step}");
            assert!(writer.has_objects(some().chain(some())).unwrap(), "{algorithm} {step}: twice");
            assert!(
                !writer.has_objects(some().chain([absent])).unwrap(),
                "{algorithm} {step}: one is absent"
            );
        }
        let object = |id: &ObjectId| directory.path().join("objects").join(id.object_path());
        std::fs::remove_file(object(&ids[40])).unwrap();
        std::os::unix::fs::symlink("/dev/null", object(&ids[40])).unwrap();
        assert!(!writer.has_objects(ids.iter().copied()).unwrap(), "a symlink is no object");
        assert!(!writer.has_objects([ids[40]]).unwrap(), "alone too");
        assert!(writer.has_objects(ids[41..].iter().copied()).unwrap());
        std::fs::remove_dir_all(directory.path().join("objects").join(ids[41].object_directory())).unwrap();
        assert!(!writer.has_objects(ids[41..].iter().copied()).unwrap(), "a directory is gone");
    }
}

#[test]
fn ids_of_the_other_algorithm_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory, Algorithm::Sha256);
    let foreign = crate::digest::object_id_of(Algorithm::Sha512, b"x");
    assert!(matches!(writer.has_objects([foreign]), Err(Error::ForeignId { .. })));
}
