use std::path::{Path, PathBuf};

use rustix::fs::CWD;

use super::*;
use crate::{
    digest::Algorithm,
    name::{RefName, StreamName},
    progress::Silent,
    repo::{CheckOptions, InitOptions, OpenOptions, Wait, init},
};

fn repository(directory: &Path) -> Writer {
    init(CWD, directory, &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
    Repository::open(CWD, directory, &OpenOptions::default()).unwrap().into_writer().unwrap()
}

fn place(writer: &Writer, id: &ObjectId) -> PathBuf {
    writer.path().join(layout::object_path(id))
}

fn spoil(path: &Path, contents: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, contents).unwrap();
}

#[test]
fn damage_is_collected_from_findings() {
    let directory = tempfile::tempdir().unwrap();
    let writer = repository(directory.path());
    let good = writer.store_bytes(&[1; 100]).unwrap().id;
    let bad = writer.store_bytes(&[2; 100]).unwrap().id;
    spoil(&place(&writer, &bad), b"other");
    let report = writer.check(&CheckOptions::default().threads(1), &Silent).unwrap();
    let mut damage = Damage::new(&writer, &report, 2).unwrap();
    assert_eq!(damage.iter().collect::<Vec<_>>(), [(&bad, Harm::Damaged)]);
    assert!(damage.spares(&good) && !damage.spares(&bad));
    damage.add(bad, Harm::VerityMissing);
    assert_eq!(damage.of(&bad), Some(Harm::Damaged));
    damage.mended(&bad);
    assert!(damage.is_empty());
    let mut all = Vec::new();
    writer.each_object(&mut |id, size| all.push((id, size))).unwrap();
    all.sort_unstable();
    let mut expected = [(good, 100), (bad, 5)];
    expected.sort_unstable();
    assert_eq!(all, expected);
}

#[test]
fn verity_is_not_enabled_on_what_is_damaged_or_gone() {
    let directory = tempfile::tempdir().unwrap();
    let writer = repository(directory.path());
    let bad = writer.store_bytes(&[2; 100]).unwrap().id;
    spoil(&place(&writer, &bad), b"other");
    assert!(matches!(writer.enable_verity(&bad), Err(Error::ObjectMismatch { .. })));
    std::fs::remove_file(place(&writer, &bad)).unwrap();
    assert!(writer.enable_verity(&bad).unwrap_err().is_missing());
}

#[test]
fn only_what_is_damaged_and_not_needed_is_discarded() {
    let directory = tempfile::tempdir().unwrap();
    let writer = repository(directory.path());
    let stream = |byte: u8| {
        let mut builder =
            crate::splitstream::Builder::new(Algorithm::Sha256, crate::splitstream::ContentType::OCI_BLOB)
                .unwrap();
        let object = writer.store_bytes(&[byte; 100]).unwrap().id;
        builder.external(&object, 100).unwrap();
        let bytes = builder.finish().unwrap().into_bytes().unwrap();
        (writer.store_bytes(&bytes).unwrap().id, object)
    };
    let (needed, needed_object) = stream(1);
    let (garbage, garbage_object) = stream(2);
    let (lost, _) = stream(3);
    let mut commit = writer.begin();
    let name = |text: &str| StreamName::new(text).unwrap();
    for (text, id) in [("needed", needed), ("garbage", garbage), ("lost", lost)] {
        commit.stream(name(text), id);
    }
    commit.stream_ref(RefName::new("x").unwrap(), &name("needed"));
    commit.finish().unwrap();
    let repository = writer.repository().clone();
    drop(writer);
    std::fs::remove_file(repository.path().join(layout::object_path(&lost))).unwrap();
    let damaged = [needed_object, garbage].into_iter().collect();
    let sweeper = repository.sweeper(Wait::Forever).unwrap();
    let removed = sweeper.discard(&damaged, &Silent).unwrap();
    assert_eq!(
        removed.paths,
        ["streams/garbage".to_owned(), "streams/lost".to_owned(), layout::object_path(&garbage)]
    );
    for id in [needed, needed_object, garbage_object] {
        assert!(sweeper.has_object(&id).unwrap());
    }
    // So might what a lost name led to.
    let refs = sweeper.path().join("streams/refs");
    std::os::unix::fs::symlink("../lost", refs.join("y")).unwrap();
    let discard = || sweeper.discard(&[garbage_object].into_iter().collect(), &Silent).unwrap().paths;
    assert_eq!(discard(), [""; 0]);
    std::fs::remove_file(refs.join("y")).unwrap();
    // What nobody can read might need them.
    let whole = sweeper.read_object(&needed, 4096).unwrap();
    spoil(&sweeper.path().join(layout::object_path(&needed)), b"nothing");
    assert_eq!(discard(), [""; 0]);
    spoil(&sweeper.path().join(layout::object_path(&needed)), &whole);
    assert_eq!(discard(), [layout::object_path(&garbage_object)]);
}
