use rustix::fs::CWD;

use super::*;
use crate::{
    digest::{Algorithm, object_id_of},
    repo::{InitOptions, OpenOptions, Repository, init},
};

fn writer(directory: &tempfile::TempDir) -> Writer {
    init(CWD, directory.path(), &InitOptions::new(Algorithm::Sha256).insecure(true).ensure(true)).unwrap();
    Repository::open(CWD, directory.path(), &OpenOptions::default()).unwrap().into_writer().unwrap()
}

fn contents(number: usize) -> Vec<u8> {
    number.to_string().repeat(30).into_bytes()
}

fn put(batch: &mut Batch, bytes: &[u8]) {
    let start = batch.buffer.len();
    batch.buffer.extend_from_slice(bytes);
    batch.items.push((object_id_of(Algorithm::Sha256, bytes), start..batch.buffer.len()));
}

#[test]
fn many_files_from_several_lanes() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory);
    let pool = StorePool::new(&writer, PoolOptions::default().threads(3).queue_per_thread(1)).unwrap();
    let feed = |from: usize, to: usize| {
        let lane = pool.lane();
        let mut batch = lane.batch();
        for number in from..to {
            put(&mut batch, &contents(number));
            if batch.is_full() {
                lane.submit(std::mem::replace(&mut batch, lane.batch())).unwrap();
            }
        }
        lane.submit(batch).unwrap();
        lane.finish().unwrap()
    };
    let mut sum = IngestStats::default();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| feed(0, 600));
        sum.add(&feed(300, 900));
        sum.add(&first.join().unwrap());
    });
    assert_eq!((sum.new, sum.present), (900, 300));
    assert_eq!(pool.finish(), sum);
    for number in 0..900 {
        let bytes = contents(number);
        let id = object_id_of(Algorithm::Sha256, &bytes);
        assert_eq!(writer.read_object(&id, 1 << 20).unwrap(), bytes);
    }
}

#[test]
fn an_error_stops_its_lane_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory);
    let pool = StorePool::new(&writer, PoolOptions::default().threads(1)).unwrap();
    let (good, bad) = (pool.lane(), pool.lane());
    let mut batch = Batch::default();
    batch.items.push((object_id_of(Algorithm::Sha512, b"x"), 0..0));
    bad.submit(batch).unwrap();
    let mut batch = Batch::default();
    put(&mut batch, b"fine");
    good.submit(batch).unwrap();
    assert!(matches!(bad.finish(), Err(Error::ForeignId { .. })));
    assert_eq!(good.finish().unwrap().new, 1);
}

#[test]
fn a_panic_fails_its_lane_and_the_threads_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory);
    let pool = StorePool::new(&writer, PoolOptions::default().threads(2).queue_per_thread(1)).unwrap();
    // More of them than there are threads, and than may wait.
    for _ in 0..8 {
        let lane = pool.lane();
        let mut batch = Batch::default();
        put(&mut batch, b"panic");
        lane.submit(batch).unwrap();
        assert!(lane.finish().is_err());
    }
    let lane = pool.lane();
    let mut batch = Batch::default();
    put(&mut batch, b"fine");
    lane.submit(batch).unwrap();
    assert_eq!(lane.finish().unwrap().new, 1);
}

#[test]
fn a_pool_that_is_gone_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory);
    let pool = StorePool::new(&writer, PoolOptions::default()).unwrap();
    let lane = pool.lane();
    drop(pool);
    let mut batch = Batch::default();
    put(&mut batch, b"late");
    assert!(lane.submit(batch).is_err());
    assert!(lane.finish().is_err());
}
