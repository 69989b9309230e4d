use rustix::fs::CWD;

use super::*;
use crate::{
    digest::Algorithm,
    name::{RefName, StreamName},
    repo::{Commit, GcOptions, GcPlan, InitOptions, OpenOptions, Writer, init},
    splitstream::{Builder, ContentType},
};

fn repository(directory: &tempfile::TempDir, algorithm: Algorithm) -> Repository {
    init(CWD, directory.path(), &InitOptions::new(algorithm).insecure(true)).unwrap();
    Repository::open(CWD, directory.path(), &OpenOptions::default()).unwrap()
}

/// Stores a stream that names these objects and streams.
fn stream(writer: &Writer, objects: &[ObjectId], named: &[ObjectId]) -> ObjectId {
    let mut builder = Builder::new(writer.algorithm(), ContentType::OCI_LAYER).unwrap();
    for (n, id) in named.iter().enumerate() {
        builder.named_ref(&format!("name{n}"), id).unwrap();
    }
    for id in objects {
        builder.external(id, writer.object_size(id).unwrap()).unwrap();
    }
    writer.store_bytes(&builder.finish().unwrap().into_bytes().unwrap()).unwrap().id
}

fn object(writer: &Writer, size: usize) -> ObjectId {
    writer.store_bytes(&vec![7; size]).unwrap().id
}

fn name(commit: &mut Commit<'_>, entry: &str, id: ObjectId) {
    commit.stream(StreamName::new(entry).unwrap(), id);
}

#[test]
fn everything_is_somebodys_once() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let directory = tempfile::tempdir().unwrap();
        let repository = repository(&directory, algorithm);
        let writer = repository.writer().unwrap();
        let sizes: Vec<ObjectId> = (0..6).map(|n| object(&writer, 1000 << n)).collect();
        // a and b share the stream `both` and the object 1; c shares 1 and is garbage, with 3 and 4 of its own.
        let both = stream(&writer, &[sizes[0]], &[]);
        let a = stream(&writer, &[sizes[1], sizes[2]], &[both]);
        let b = stream(&writer, &[sizes[1], sizes[1]], &[both]);
        let c = stream(&writer, &[sizes[1], sizes[3], sizes[4]], &[]);
        let mut commit = writer.begin();
        for (entry, id) in [("both", both), ("a", a), ("b", b), ("c", c)] {
            name(&mut commit, entry, id);
        }
        for entry in ["a", "b"] {
            commit.stream_ref(RefName::new(entry).unwrap(), &StreamName::new(entry).unwrap());
        }
        commit.finish().unwrap();

        let mut accounting = Accounting::new(&repository).unwrap();
        let [a_root, b_root] = [a, b].map(|id| accounting.root(Standing::Kept, Category::Streams, id));
        assert!(accounting.reaches(&both) && !accounting.reaches(&c));
        let c_root = accounting.root(Standing::Garbage, Category::Streams, c);
        let usage = accounting.finish().unwrap();
        assert!(usage.problems().is_empty());
        let size = |ids: &[ObjectId]| ids.iter().map(|id| repository.object_size(id).unwrap()).sum::<u64>();
        let shares = usage.shares(&[vec![a_root], vec![b_root], vec![c_root]]);
        let bytes: Vec<(u64, u64)> =
            shares.iter().map(|share| (share.own.bytes, share.shared.bytes)).collect();
        let shared = size(&[both, sizes[0], sizes[1]]);
        assert_eq!(
            bytes,
            [
                (size(&[a, sizes[2]]), shared),
                (size(&[b]), shared),
                (size(&[c, sizes[3], sizes[4]]), size(&[sizes[1]]))
            ]
        );
        assert_eq!(shares.iter().map(|share| share.streams).collect::<Vec<_>>(), [2, 2, 1]);
        // Together they own what they share.
        let [together] = usage.shares(&[vec![a_root, b_root]])[..] else { panic!() };
        assert_eq!((together.own.bytes, together.shared.bytes), (size(&[a, b, sizes[2]]) + shared, 0));

        let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
        let totals = usage.totals();
        assert_eq!((totals.garbage.objects, totals.garbage.bytes), (plan.objects.len() as u64, plan.bytes()));
        assert_eq!((totals.objects.objects, totals.streams, totals.images), (10, 4, 0));
        assert!(!totals.is_held_back && totals.missing == 0 && totals.temporaries == 0);
    }
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let repository = repository(&directory, Algorithm::Sha256);
    let writer = repository.writer().unwrap();
    let [lost, whole, bad] = [1000, 2000, 3000].map(|size| object(&writer, size));
    let a = stream(&writer, &[lost, whole], &[]);
    std::fs::remove_file(directory.path().join("objects").join(lost.object_path())).unwrap();
    std::fs::write(directory.path().join("objects/.tmp-object-x"), "half").unwrap();
    let mut accounting = Accounting::new(&repository).unwrap();
    let a = accounting.root(Standing::Kept, Category::Streams, a);
    let bad = accounting.root(Standing::Kept, Category::Streams, bad);
    let usage = accounting.finish().unwrap();
    assert_eq!(usage.problems().len(), 1);
    assert!(matches!(usage.problems()[0], Error::Stream { .. }));
    let totals = usage.totals();
    assert!(totals.is_held_back && usage.is_held_back_without(&[a]) && !usage.is_held_back_without(&[bad]));
    assert_eq!((totals.missing, totals.temporaries, totals.temporary_bytes), (1, 1, 4));
    let shares = usage.shares(&[vec![a], vec![bad]]);
    assert_eq!((shares[0].missing, shares[0].own.objects), (1, 2));
    // That it is there is known, though not what it needs.
    assert_eq!((shares[1].missing, shares[1].own.bytes), (0, 3000));
}

#[test]
fn streams_that_name_each_other_are_read_once() {
    let directory = tempfile::tempdir().unwrap();
    let repository = repository(&directory, Algorithm::Sha256);
    let writer = repository.writer().unwrap();
    // A ladder: each names both of the step below, so that there are 2^30 ways down.
    let mut step = [object(&writer, 100), object(&writer, 101)];
    for _ in 0..30 {
        let below = step;
        let sides = [object(&writer, 200), object(&writer, 300)];
        step = sides.map(|side| stream(&writer, &[side], &below));
    }
    let mut accounting = Accounting::new(&repository).unwrap();
    let roots = step.map(|id| accounting.root(Standing::Kept, Category::Streams, id));
    let usage = accounting.finish().unwrap();
    let shares = usage.shares(&roots.map(|root| vec![root]));
    assert_eq!(shares[0].streams, 59);
    assert_eq!(shares[0].own.objects, 1);
    assert_eq!(usage.totals().garbage.objects, 0);
}
