//! Large blobs over several connections, where that is faster and the registry plays along.

use std::{collections::BTreeSet, io::Read as _, time::Duration};

use composefs_oci::transport::{
    Source as _,
    registry::{RegistryOptions, ranged::SplitOptions},
};
use composefs_testkit::{
    images::Descriptor,
    registry::{Blobs, Fault, Recorded, Registry, RegistryOptions as Settings, Rule},
};

use crate::{
    downloads::{fetch, pattern},
    lab::{connect, options},
};

const KIB: usize = 1024;
const BLOB: usize = 4 << 20;

/// Splits what is larger than 1 MiB into parts of 128 KiB, whether or not that pays.
fn splitting() -> RegistryOptions {
    let mut split = SplitOptions::default().sizes(1 << 20, 128 * KIB as u64);
    split.gain = 0.1;
    options().split(split)
}

/// A registry whose connections are slow, each for itself.
fn slow() -> Settings {
    Settings::default().rate(Some(10 << 20))
}

fn start(settings: Settings) -> (Registry, Descriptor, Vec<u8>) {
    let registry = Registry::start(settings);
    let bytes = pattern(BLOB);
    let blob = registry.blob("app", "application/octet-stream", &bytes);
    (registry, blob, bytes)
}

fn fetched(settings: Settings, rules: impl IntoIterator<Item = Rule>) -> Vec<Recorded> {
    let (registry, blob, bytes) = start(settings);
    rules.into_iter().for_each(|rule| registry.inject(rule));
    assert!(fetch(&registry, &blob, &splitting()).unwrap() == bytes);
    registry.requests()
}

fn connections(requests: &[Recorded]) -> usize {
    requests.iter().map(|request| request.connection).collect::<BTreeSet<_>>().len()
}

fn cost(requests: &[Recorded]) -> u64 {
    requests.iter().map(|request| request.sent).sum()
}

#[test]
fn slow_connections_are_joined_by_others() {
    let (registry, blob, bytes) = start(Settings::default().rate(Some(3 << 20)));
    let options = options().split(SplitOptions::default().sizes(1 << 20, 128 * KIB as u64));
    assert!(fetch(&registry, &blob, &options).unwrap() == bytes);
    let requests = registry.requests();
    assert!((2..=4).contains(&connections(&requests)), "{} connections", connections(&requests));
    assert_eq!(cost(&requests), BLOB as u64);
}

#[test]
fn a_slow_reader_needs_one_connection() {
    let registry = Registry::start(Settings::default());
    let bytes = pattern(3 * BLOB);
    let blob = registry.blob("app", "application/octet-stream", &bytes);
    let options = options().split(SplitOptions::default().sizes(1 << 20, 2 << 20));
    let source = connect(&registry.reference("app:v1"), &options);
    let mut reader = source.blob(&serde_json::from_value(blob.json()).unwrap()).unwrap();
    // What hashes and inflates is slower than the loopback interface; here, certainly.
    while registry.sent_bytes("/blobs/") < 2 << 20 {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(300));
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    assert!(got == bytes);
    // A part to measure by, then all the rest at once.
    let ranges: Vec<_> =
        registry.requests().iter().map(|request| request.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [Some("bytes=0-4194303".to_owned()), Some("bytes=4194304-".to_owned())]);
}

#[test]
fn small_blobs_and_ignored_ranges_take_one_request() {
    let requests = fetched(slow(), [Rule::new("/blobs/", Fault::IgnoreRange)]);
    assert_eq!((requests.len(), cost(&requests)), (1, BLOB as u64));
    let (registry, ..) = start(Settings::default());
    let bytes = pattern(900 * KIB);
    let blob = registry.blob("app", "application/octet-stream", &bytes);
    assert!(fetch(&registry, &blob, &splitting()).unwrap() == bytes);
    assert_eq!(registry.requests()[0].header("range"), None);
    assert_eq!(registry.requests().len(), 1);
}

#[test]
fn cuts_cost_no_byte_twice() {
    let requests = fetched(slow(), [Rule::new("/blobs/", Fault::CutAfter(100 * KIB as u64)).times(5)]);
    assert_eq!(cost(&requests), BLOB as u64);
    let requests =
        fetched(slow(), [Rule::new("/blobs/", Fault::CutAfter(200 * KIB as u64)).after(6).times(5)]);
    assert_eq!(cost(&requests), BLOB as u64);
}

#[test]
fn a_registry_that_wants_fewer_connections_gets_fewer() {
    for after in [1, 3, 6] {
        let busy = Rule::new("/blobs/", Fault::busy(429, "1")).after(after).times(2);
        let requests = fetched(slow(), [busy]);
        let errors: u64 =
            requests.iter().filter(|request| request.status == 429).map(|request| request.sent).sum();
        assert_eq!(cost(&requests), BLOB as u64 + errors, "after {after}");
    }
}

#[test]
fn ranges_may_stop_working_on_the_way() {
    for fault in [Fault::IgnoreRange, Fault::NoContentRange, Fault::Etag("\"other\"".to_owned())] {
        for after in [1, 2, 9] {
            fetched(slow(), [Rule::new("/blobs/", fault.clone()).after(after)]);
        }
    }
}

#[test]
fn parts_come_from_the_storage_without_asking_the_registry_for_each() {
    let requests = fetched(slow().blobs(Blobs::Storage), []);
    let redirects = requests.iter().filter(|request| request.status == 307).count();
    let parts = requests.iter().filter(|request| request.status == 206).count();
    assert!(redirects <= 2 && parts > 4, "{redirects} redirects for {parts} parts");
    // Each address works once: then every part needs one.
    fetched(slow().blobs(Blobs::StorageOnce), []);
}
