//! Blobs over connections that break, stall and lie: they arrive whole or are refused, and cost what they must.

use std::{
    io::{self, Read as _},
    time::Duration,
};

use composefs::progress::{Cancel, Silent};
use composefs_oci::{
    Error,
    digest::BlobFault,
    pull::{PullOptions, pull},
    transport::{
        Source as _, SourceOptions, open,
        registry::{RegistryOptions, retry::RetryOptions},
    },
};
use composefs_testkit::{
    images::{Compression, Descriptor, Image},
    registry::{Auth, Blobs, Fault, Place, Recorded, Registry, RegistryOptions as Settings, Rule},
};
use tempfile::TempDir;

use crate::lab::{amd64, chain, connect, layer, options, pull_with, with_login, writer};

const MIB: usize = 1 << 20;

/// Bytes that tell where they are from.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    let words =
        (0..length.div_ceil(8)).flat_map(|at| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words.take(length).collect()
}

/// Reads a blob of `app` as whoever imports a layer does, without a check of it.
pub(crate) fn fetch(
    registry: &Registry,
    blob: &Descriptor,
    options: &RegistryOptions,
) -> io::Result<Vec<u8>> {
    let source = connect(&registry.reference("app:v1"), options);
    let descriptor = serde_json::from_value(blob.json()).unwrap();
    let mut bytes = Vec::new();
    let mut reader = source.blob(&descriptor).map_err(|error| io::Error::other(chain(&error)))?;
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A registry with one blob, and the requests that fetching it took; the blob must have come right.
fn fetched(length: usize, settings: Settings, rules: impl IntoIterator<Item = Rule>) -> Vec<Recorded> {
    let registry = Registry::start(settings);
    let bytes = pattern(length);
    let blob = registry.blob("app", "application/octet-stream", &bytes);
    rules.into_iter().for_each(|rule| registry.inject(rule));
    let got = fetch(&registry, &blob, &options()).unwrap();
    assert!(got == bytes, "{} of {length} bytes", got.len());
    registry.requests()
}

fn cost(requests: &[Recorded]) -> u64 {
    requests.iter().map(|request| request.sent).sum()
}

fn ranges(requests: &[Recorded]) -> Vec<Option<&str>> {
    requests.iter().map(|request| request.header("range")).collect()
}

#[test]
fn five_cuts_cost_no_byte_twice() {
    let requests =
        fetched(6 * MIB, Settings::default(), [Rule::new("/blobs/", Fault::CutAfter(MIB as u64)).times(5)]);
    assert_eq!(cost(&requests), 6 * MIB as u64);
    let expected: Vec<Option<String>> =
        (0..6).map(|at| (at > 0).then(|| format!("bytes={}-", at * MIB))).collect();
    assert_eq!(ranges(&requests), expected.iter().map(Option::as_deref).collect::<Vec<_>>());
    let version = requests[1].header("if-range");
    assert!(version.is_some_and(|etag| etag.starts_with("\"sha256:")), "{version:?}");
    assert!(requests.iter().all(|request| request.header("accept-encoding") == Some("identity")));
}

#[test]
fn progress_gives_the_tries_back() {
    let cuts = Rule::new("/blobs/", Fault::CutAfter(MIB as u64 + 7)).times(9);
    assert_eq!(cost(&fetched(10 * MIB, Settings::default(), [cuts])), 10 * MIB as u64);
}

#[test]
fn without_progress_it_ends() {
    for (fault, requests) in [(Fault::CutAfter(0), 6), (Fault::CutAfter(1000), 6), (Fault::Close, 6)] {
        let registry = Registry::start(Settings::default());
        let blob = registry.blob("app", "application/octet-stream", &pattern(MIB));
        registry.inject(Rule::new("/blobs/", fault.clone()));
        let error = fetch(&registry, &blob, &options()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&blob.digest), "{fault:?}: {text}");
        assert_eq!(registry.requests().len(), requests, "{fault:?}: {text}");
    }
}

#[test]
fn what_is_not_there_is_asked_for_once() {
    let registry = Registry::start(Settings::default());
    registry.blob("app", "application/octet-stream", b"other");
    let digest = format!("sha256:{}", "0".repeat(64));
    let blob = Descriptor { media_type: "application/octet-stream".to_owned(), digest, size: 5 };
    fetch(&registry, &blob, &options()).unwrap_err();
    assert_eq!(registry.requests().len(), 1);
}

#[test]
fn busy_registries_are_asked_again() {
    for fault in [
        Fault::busy(429, "1"),
        Fault::busy(503, "Sun, 06 Nov 1994 08:49:37 GMT"),
        Fault::status(500, "UNKNOWN"),
    ] {
        let requests = fetched(1000, Settings::default(), [Rule::new("/blobs/", fault).times(2)]);
        assert_eq!((requests.len(), cost(&requests)), (3, 1000 + requests[0].sent + requests[1].sent));
    }
}

#[test]
fn a_registry_that_ignores_ranges_is_read_again() {
    let cut = Rule::new("/blobs/", Fault::CutAfter(700_000)).times(1);
    let ignore = Rule::new("/blobs/", Fault::IgnoreRange);
    let requests = fetched(2 * MIB, Settings::default(), [cut, ignore]);
    assert_eq!(cost(&requests), 700_000 + 2 * MIB as u64);
}

#[test]
fn ranges_that_are_answered_wrongly_are_not_believed() {
    for fault in [
        Fault::ShiftContentRange(1),
        Fault::StartLater(5),
        Fault::ShiftTotal(1),
        Fault::NoContentRange,
        Fault::Header("content-range".to_owned(), "bytes nonsense".to_owned()),
        Fault::Header("content-encoding".to_owned(), "gzip".to_owned()),
    ] {
        let cut = Rule::new("/blobs/", Fault::CutAfter(300_000)).times(1);
        let requests = fetched(MIB, Settings::default(), [cut, Rule::new("/blobs/", fault).ranged(true)]);
        // After one such answer, everything is asked for.
        assert_eq!(ranges(&requests), [None, Some("bytes=300000-"), None]);
    }
}

#[test]
fn parts_may_be_shorter_than_asked_for() {
    let cut = Rule::new("/blobs/", Fault::CutAfter(500_000)).times(1);
    let short = Rule::new("/blobs/", Fault::ShortRange(300_000));
    let requests = fetched(MIB, Settings::default(), [cut, short]);
    assert_eq!((requests.len(), cost(&requests)), (3, MIB as u64));
}

#[test]
fn another_version_costs_at_most_what_was_there() {
    let cut = |length| Rule::new("/blobs/", Fault::CutAfter(length)).times(1);
    let renamed = || Rule::new("/blobs/", Fault::Etag("\"other\"".to_owned())).after(1);
    // A little is read over once more; of more, the rest is asked for whatever the copy is called.
    let requests = fetched(4 * MIB, Settings::default(), [cut(300_000), renamed()]);
    assert_eq!((requests.len(), cost(&requests)), (2, 300_000 + 4 * MIB as u64));
    let requests = fetched(4 * MIB, Settings::default(), [cut(3 * MIB as u64), renamed()]);
    assert_eq!(requests.last().map(|last| (last.sent, last.header("if-range"))), Some((MIB as u64, None)));
}

#[test]
fn a_redirect_that_expired_is_asked_for_again() {
    let settings = Settings::default().blobs(Blobs::StorageOnce);
    // One of the cuts falls on the refusal.
    let cuts = Rule::new("/storage/", Fault::CutAfter(MIB as u64)).times(3);
    let requests = fetched(3 * MIB, settings, [cuts]);
    let statuses: Vec<u16> = requests.iter().map(|request| request.status).collect();
    assert_eq!(statuses, [307, 200, 307, 206, 403, 307, 206]);
    let parts = requests.iter().filter(|request| matches!(request.status, 200 | 206));
    assert_eq!(parts.map(|request| request.sent).sum::<u64>(), 3 * MIB as u64);
}

#[test]
fn the_storage_hears_nothing_of_credentials() {
    let settings =
        Settings::default().blobs(Blobs::Storage).auth(Auth::Basic("me".to_owned(), "secret".to_owned()));
    let registry = Registry::start(settings);
    let bytes = pattern(2 * MIB);
    let blob = registry.blob("app", "application/octet-stream", &bytes);
    registry.inject(Rule::new("/storage/", Fault::CutAfter(500_000)).times(2));
    assert!(fetch(&registry, &blob, &with_login("me", "secret")).unwrap() == bytes);
    let requests = registry.requests();
    let storage: Vec<_> = requests.iter().filter(|request| request.place == Place::Storage).collect();
    assert_eq!(storage.len(), 3);
    assert!(storage.iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(ranges(&requests).iter().flatten().count(), 3, "one at the registry, two at the storage");
}

#[test]
fn a_stalled_connection_is_given_up() {
    let registry = Registry::start(Settings::default());
    let bytes = pattern(MIB);
    let blob = registry.blob("app", "application/octet-stream", &bytes);
    registry.inject(Rule::new("/blobs/", Fault::Stall(100_000, None)).times(1));
    let options = options().timeouts(Duration::from_secs(30), Duration::from_millis(300));
    assert!(fetch(&registry, &blob, &options).unwrap() == bytes);
    assert_eq!(registry.requests()[1].header("range"), Some("bytes=100000-"));
}

#[test]
fn lengths_that_lie() {
    // A short answer that looks whole: what is missing is asked for.
    let requests = fetched(MIB, Settings::default(), [Rule::new("/blobs/", Fault::Truncate(1000)).times(1)]);
    assert_eq!(ranges(&requests), [None, Some("bytes=1000-")]);
    // A promise of more than the blob: what was promised by the descriptor is here.
    assert_eq!(fetched(MIB, Settings::default(), [Rule::new("/blobs/", Fault::LongLength(9))]).len(), 1);
    // No length at all.
    assert_eq!(fetched(MIB, Settings::default().chunked(true), []).len(), 1);
    assert_eq!(fetched(0, Settings::default(), []).len(), 1);
}

#[test]
fn a_blob_without_end_is_refused() {
    let registry = Registry::start(Settings::default());
    let image = Image::new([layer(1, 1_500_000, Compression::Gzip)]);
    let digest = image.layers[0].digest.clone();
    registry.add_image("app", "v1", &image);
    registry.inject(Rule::new(&digest, Fault::Endless));
    let error = pull_with(&registry.reference("app:v1"), &options()).unwrap_err();
    assert!(
        matches!(&error, Error::BlobMismatch { fault: BlobFault::Size { at_least: true, .. }, .. }),
        "{error:?}"
    );
    assert!(registry.sent_bytes(&digest) < 64 * MIB as u64, "{}", registry.sent_bytes(&digest));
}

#[test]
fn descriptors_that_lie_about_sizes_are_refused() {
    for claimed in [1000, 400_000] {
        let registry = Registry::start(Settings::default());
        let layer = layer(1, 300_000, Compression::Gzip).claim_size(claimed);
        registry.add_image("app", "v1", &Image::new([layer.clone()]));
        let error = pull_with(&registry.reference("app:v1"), &options()).unwrap_err();
        assert!(matches!(&error, Error::BlobMismatch { fault: BlobFault::Size { .. }, .. }), "{error:?}");
        assert!(chain(&error).contains(&layer.digest));
    }
}

#[test]
fn a_blob_that_came_wrong_is_fetched_once_more() {
    let registry = Registry::start(Settings::default());
    let image = Image::new([layer(1, 600_000, Compression::Gzip), layer(2, 2000, Compression::Zstd)]);
    let written = registry.add_image("app", "v1", &image);
    let reference = registry.reference("app:v1");
    let right = pull_with(&reference, &options()).unwrap();
    for digest in [&image.layers[0].digest, &image.layers[1].digest, &written.config.digest] {
        registry.forget_requests();
        registry.inject(Rule::new(digest, Fault::FlipByte(77)).times(1));
        assert_eq!(pull_with(&reference, &options()).unwrap().images, right.images);
        let asked =
            registry.requests().iter().filter(|request| request.path.contains(digest.as_str())).count();
        assert_eq!(asked, 2, "{digest}");
    }
    for digest in [&image.layers[0].digest, &image.layers[1].digest, &written.config.digest] {
        registry.forget_requests();
        registry.inject(Rule::new(digest, Fault::FlipByte(77)));
        let error = pull_with(&reference, &options()).unwrap_err();
        assert!(
            matches!(&error, Error::BlobMismatch { digest: wrong, fault: BlobFault::Digest { .. } } if wrong.as_str() == digest),
            "{error:?}"
        );
        let asked =
            registry.requests().iter().filter(|request| request.path.contains(digest.as_str())).count();
        assert_eq!(asked, 2, "{digest}");
        registry.heal();
    }
}

#[test]
fn layers_that_were_done_survive_an_aborted_pull() {
    let registry = Registry::start(Settings::default());
    let image = Image::new([layer(1, 2000, Compression::Gzip), layer(2, 600_000, Compression::Gzip)]);
    let (small, large) = (&image.layers[0].digest, &image.layers[1].digest);
    registry.add_image("app", "v1", &image);
    let dir = TempDir::new().unwrap();
    let writer = writer(&dir.path().join("repo"));
    let never = options().retries(RetryOptions::default().limit(0));
    let pull_once = || {
        let source =
            open(&registry.reference("app:v1").parse()?, &SourceOptions::default().registry(never.clone()))?;
        let options = PullOptions::default().tag("x").platform(amd64()).jobs(1);
        pull(&writer, source.as_ref(), &options, &Silent)
    };
    registry.inject(Rule::new(small, Fault::CutAfter(100)));
    pull_once().unwrap_err();
    registry.heal();
    registry.forget_requests();
    pull_once().unwrap();
    let asked =
        |digest: &str| registry.requests().iter().filter(|request| request.path.contains(digest)).count();
    assert_eq!((asked(large), asked(small)), (0, 1));
}

#[test]
fn a_pull_that_waits_can_be_stopped() {
    let registry = Registry::start(Settings::default());
    let image = Image::new([layer(1, 600_000, Compression::Gzip)]);
    let digest = &image.layers[0].digest;
    registry.add_image("app", "v1", &image);
    registry.inject(Rule::new(digest, Fault::Stall(1000, None)));
    let dir = TempDir::new().unwrap();
    let writer = writer(&dir.path().join("repo"));
    let source =
        open(&registry.reference("app:v1").parse().unwrap(), &SourceOptions::default().registry(options()))
            .unwrap();
    let options = PullOptions::default().tag("x").platform(amd64()).cancel(Cancel::default());
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| pull(&writer, source.as_ref(), &options, &Silent));
        while registry.sent_bytes(digest) == 0 {
            std::thread::yield_now();
        }
        options.cancel.cancel();
        pulling.join().unwrap().unwrap_err();
    });
    assert_eq!(writer.stream_entries().unwrap(), []);
}

#[test]
fn dropping_the_reader_ends_the_transfer() {
    let registry = Registry::start(Settings::default());
    let blob = registry.blob("app", "application/octet-stream", &pattern(64 * MIB));
    let source = connect(&registry.reference("app:v1"), &options());
    let descriptor = serde_json::from_value(blob.json()).unwrap();
    let mut reader = source.blob(&descriptor).unwrap();
    reader.read_exact(&mut [0; 1000]).unwrap();
    drop(reader);
    drop(source);
    // The server's end notices before this one ends.
    let sent = || registry.sent_bytes("/blobs/");
    let before = sent();
    assert!(before < 48 * MIB as u64, "{before}");
}
