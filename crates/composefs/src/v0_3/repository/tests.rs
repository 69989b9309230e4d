use std::{fs, io::Read as _, sync::Arc};

use rustix::fs::CWD;
use sha2::{Digest as _, Sha256};

use super::Repository;
use crate::{
    error::Error,
    v0_3::{
        fsverity::{FsVerityHashValue as _, Sha256HashValue, Sha512HashValue},
        splitstream::{DigestMap, SplitStreamData},
        test::tempdir,
        util::Sha256Digest,
    },
};

fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256::digest(bytes).into()
}

#[test]
fn an_empty_directory_is_a_repository() {
    let directory = tempdir();
    let repository = Repository::<Sha256HashValue>::open_path(CWD, directory.path()).unwrap();
    assert_eq!(repository.has_stream(&[0; 32]).unwrap(), None);
    assert_eq!(repository.check_stream(&[0; 32]).unwrap(), None);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "opening wrote something");
    let id = repository.ensure_object(b"contents").unwrap();
    let meta = fs::read_to_string(directory.path().join("meta.json")).unwrap();
    assert!(meta.contains("fsverity-sha256-12") && meta.contains("\"default\": 1"), "{meta}");
    let mut contents = String::new();
    fs::File::from(repository.open_object(&id).unwrap()).read_to_string(&mut contents).unwrap();
    assert_eq!(contents, "contents");
    assert!(matches!(
        Repository::<Sha512HashValue>::open_path(CWD, directory.path()),
        Err(Error::AlgorithmMismatch { .. })
    ));
    assert!(Repository::<Sha256HashValue>::open_path(CWD, directory.path().join("absent")).is_err());
}

#[test]
fn streams_are_written_named_and_read() {
    let directory = tempdir();
    let repository = Arc::new(Repository::<Sha256HashValue>::open_path(CWD, directory.path()).unwrap());
    let big = vec![7; 1000];
    let body = [b"head", &big[..], b"padding", b"tail"].concat();
    let digest = sha256(&body);

    let id = repository
        .ensure_stream(
            &digest,
            |stream| {
                stream.write_inline(b"head");
                stream.write_external(&big, b"padding".to_vec())?;
                stream.write_inline(b"tail");
                Ok(())
            },
            Some("some/name"),
        )
        .unwrap();
    assert_eq!(repository.has_stream(&digest).unwrap(), Some(id.clone()));
    assert_eq!(repository.check_stream(&digest).unwrap(), Some(id.clone()));
    // Present: the function is not called, the ref is made anyhow.
    let again = repository.ensure_stream(&digest, |_| panic!("present"), Some("other")).unwrap();
    assert_eq!(again, id);
    repository.name_stream(digest, "other").unwrap();
    assert!(matches!(repository.name_stream([0; 32], "x"), Err(Error::NotFound { .. })));

    let mut reader = repository.open_stream("refs/other", Some(&id)).unwrap();
    let mut head = [0; 4];
    assert!(reader.read_inline_exact(&mut head).unwrap());
    assert_eq!(&head, b"head");
    let object = repository.ensure_object(&big).unwrap();
    assert_eq!(reader.read_exact(1000, 1007).unwrap(), SplitStreamData::External(object.clone()));
    assert_eq!(reader.read_exact(2, 4).unwrap(), SplitStreamData::Inline(b"ta"[..].into()));
    assert!(!reader.read_inline_exact(&mut head).unwrap());
    assert!(matches!(repository.open_stream("refs/other", Some(&object)), Err(Error::ObjectMismatch { .. })));

    let mut out = Vec::new();
    repository.merge_splitstream("refs/some/name", Some(&id), &mut out).unwrap();
    assert_eq!(out, body);
    let mut out = Vec::new();
    let mut load = |id: &Sha256HashValue| {
        let mut contents = Vec::new();
        fs::File::from(repository.open_object(id)?).read_to_end(&mut contents).map_err(Error::caller)?;
        Ok(contents)
    };
    repository.open_stream("refs/other", None).unwrap().cat(&mut out, &mut load).unwrap();
    assert_eq!(out, body);
    let mut objects = Vec::new();
    repository
        .open_stream("refs/other", None)
        .unwrap()
        .get_object_refs(|id| objects.push(id.clone()))
        .unwrap();
    assert_eq!(objects, [object]);

    // An object where bytes should be is an error, not a gap.
    let mut reader = repository.open_stream("refs/other", None).unwrap();
    assert!(reader.read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn what_is_written_must_have_the_digest() {
    let directory = tempdir();
    let repository = Repository::<Sha256HashValue>::open_path(CWD, directory.path()).unwrap();
    let write = |stream: &mut super::super::splitstream::SplitStreamWriter<_>| {
        stream.write_inline(b"other");
        Ok(())
    };
    let wrong = repository.ensure_stream(&sha256(b"one"), write, Some("name"));
    assert!(matches!(wrong, Err(Error::ContentMismatch { .. })), "{wrong:?}");
    assert!(repository.open_stream("refs/name", None).is_err());
    assert!(matches!(
        repository.write_stream(repository.create_stream(None, None), None),
        Err(Error::NoDigest)
    ));

    let stream = || {
        let mut stream = repository.create_stream(Some(sha256(b"one")), None);
        stream.write_inline(b"one");
        stream
    };
    let id = repository.write_stream(stream(), Some("name")).unwrap();
    assert_eq!(repository.write_stream(stream(), None).unwrap(), id);
    assert!(matches!(repository.write_stream(stream(), Some("name")), Err(Error::RefExists { .. })));
}

#[test]
fn references_are_followed_and_checked() {
    let directory = tempdir();
    let repository = Repository::<Sha512HashValue>::open_path(CWD, directory.path()).unwrap();
    let leaf = repository
        .ensure_stream(
            &sha256(b"leaf"),
            |stream| {
                stream.write_inline(b"leaf");
                Ok(())
            },
            None,
        )
        .unwrap();
    let root = |body: &[u8], verity: &Sha512HashValue| {
        let mut refs = DigestMap::new();
        refs.insert(&sha256(b"leaf"), verity);
        let mut stream = repository.create_stream(Some(sha256(body)), Some(refs));
        stream.write_inline(body);
        repository.write_stream(stream, Some(std::str::from_utf8(body).unwrap())).unwrap()
    };
    let good = root(b"good", &leaf);
    assert_eq!(repository.check_stream(&sha256(b"good")).unwrap(), Some(good));
    let reader = repository.open_stream("refs/good", None).unwrap();
    assert_eq!(reader.refs.lookup(&sha256(b"leaf")), Some(&leaf));
    assert_eq!(reader.lookup(&sha256(b"leaf")).unwrap(), &leaf);
    let object = repository.ensure_object(b"no stream at all").unwrap();
    root(b"bad", &object);
    let bad = repository.check_stream(&sha256(b"bad"));
    assert!(matches!(bad, Err(Error::ReferenceMismatch { .. })), "{bad:?}");
}

#[test]
fn images_and_garbage() {
    use crate::v0_3::tree::{Directory, FileSystem, Inode, Leaf, LeafContent, RegularFile, Stat};

    let directory = tempdir();
    let repository = Repository::<Sha256HashValue>::open_path(CWD, directory.path()).unwrap();
    let object = repository.ensure_object(&[1; 100]).unwrap();
    let garbage = repository.ensure_object(&[2; 100]).unwrap();
    let mut tree = FileSystem::default();
    let leaf = std::rc::Rc::new(Leaf {
        stat: Stat { st_mtim_sec: 5, ..Stat::default() },
        content: LeafContent::Regular(RegularFile::External(object.clone(), 100)),
    });
    tree.root.insert("a".as_ref(), Inode::Leaf(leaf.clone()));
    tree.root.insert("d".as_ref(), Inode::Directory(Box::new(Directory::new(Stat::default()))));
    tree.root.get_directory_mut("/d".as_ref()).unwrap().insert("b".as_ref(), Inode::Leaf(leaf));
    tree.done().unwrap();
    assert_eq!(tree.root.stat.st_mtim_sec, 5);
    assert_eq!(FileSystem::from_native(&tree.to_native().unwrap()).unwrap(), tree);

    let id = tree.commit_image(&repository, Some("i/name")).unwrap();
    assert_eq!(tree.compute_image_id().unwrap(), id);
    let mut bytes = Vec::new();
    fs::File::from(repository.open_image("refs/i/name").unwrap()).read_to_end(&mut bytes).unwrap();
    assert_eq!(repository.import_image("other", &mut &bytes[..]).unwrap(), id);
    let objects = repository.objects_for_image(&id.to_hex()).unwrap();
    assert_eq!(objects, std::collections::HashSet::from([object.clone()]));

    repository.gc().unwrap();
    assert!(repository.open_object(&object).is_ok());
    assert!(matches!(repository.open_object(&garbage), Err(Error::ObjectMissing { .. })));
    repository.ensure_object(&[2; 100]).unwrap();
    assert!(repository.open_object(&garbage).is_ok());
}
