//! Uploads that break off, are refused in one piece, or end under another name.

use std::time::Duration;

use composefs_oci::{
    Error,
    transport::registry::{fault::Fault as Answer, retry::RetryOptions},
};
use composefs_testkit::{
    images::{Compression, Image, sha256},
    registry::{Fault, Registry, RegistryOptions, Rule},
};

use crate::lab::{Lab, amd64, chain, image, layer};

fn large() -> Image {
    Image::new([layer(1, 6_000_000, Compression::Plain)])
}

#[test]
fn a_failed_request_is_made_again() {
    for (part, times) in [("/blobs/uploads/", 3), ("/manifests/", 2)] {
        let mut lab = Lab::new();
        let registry = Registry::start(RegistryOptions::default());
        lab.layout.image("x", &image());
        registry.inject(Rule::new(part, Fault::status(503, "UNKNOWN")).times(times));
        lab.copy(&lab.layout.reference("x"), &registry.reference("app:v1"))
            .unwrap_or_else(|error| panic!("{part}: {}", chain(&error)));
        assert!(registry.find_manifest("app", "v1").is_some());
    }
}

#[test]
fn what_stays_wrong_is_an_error_and_no_tag() {
    let mut lab = Lab::new();
    let registry = Registry::start(RegistryOptions::default());
    lab.layout.image("x", &image());
    registry.inject(Rule::new("/blobs/uploads/", Fault::status(503, "UNKNOWN")));
    let error = lab.copy(&lab.layout.reference("x"), &registry.reference("app:v1")).unwrap_err();
    assert!(matches!(error, Error::Registry(_)), "{error:?}");
    assert!(error.to_string().contains("upload of a blob to"), "{error}");
    assert!(registry.tags("app").is_empty());
}

#[test]
fn where_nothing_can_be_put() {
    let mut lab = Lab::new();
    let registry = Registry::start(RegistryOptions::default());
    lab.layout.image("x", &image());
    for part in ["/blobs/uploads/", "/manifests/"] {
        registry.heal();
        registry.inject(Rule::new(part, Fault::status(404, "NAME_UNKNOWN")));
        let error = lab.copy(&lab.layout.reference("x"), &registry.reference("app:v1")).unwrap_err();
        let text = format!("{} {}", chain(&error), error.hint().unwrap());
        assert!(text.contains("has no such repository, or takes no images"), "{text}");
        assert!(text.contains("created first") && !text.contains("latest"), "{text}");
    }
}

#[test]
fn a_damaged_blob_does_not_arrive() {
    let mut lab = Lab::new();
    let registry = Registry::start(RegistryOptions::default());
    let image = large();
    lab.layout.image("x", &image);
    let digest = &image.layers[0].digest;
    lab.layout.damage(digest, |blob| *blob.last_mut().unwrap() ^= 1);
    let error = lab.copy(&lab.layout.reference("x"), &registry.reference("app:v1")).unwrap_err();
    assert!(matches!(error, Error::BlobMismatch { .. }), "{error:?}");
    lab.layout.damage(digest, |blob| blob.truncate(3_000_000));
    let error = lab.copy(&lab.layout.reference("x"), &registry.reference("app:v1")).unwrap_err();
    assert!(matches!(error, Error::BlobMismatch { .. }), "{error:?}");
    assert!(registry.find_blob("app", digest).is_none());
    assert!(registry.tags("app").is_empty());
}

#[test]
fn in_chunks_where_one_request_is_too_large() {
    let mut lab = Lab::new();
    let registry = Registry::start(RegistryOptions::default().chunk_min(Some(1 << 20)));
    let image = large();
    lab.layout.image("x", &image);
    registry.inject(Rule::new("/blobs/uploads/", Fault::status(413, "SIZE_INVALID")).method("PUT").times(1));
    lab.copy_as(&lab.layout.reference("x"), &registry.reference("app:v1"), &amd64().jobs(1))
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let blob = registry.find_blob("app", &image.layers[0].digest).unwrap();
    assert_eq!(sha256(&blob), image.layers[0].digest);
    assert!(registry.requests().iter().any(|request| request.method == "PATCH"));
}

#[test]
fn goes_on_where_it_broke_off() {
    let mut lab = Lab::new();
    let registry = Registry::start(RegistryOptions::default());
    let image = Image::new([layer(1, 40_000_000, Compression::Plain)]);
    lab.layout.image("x", &image);
    registry.inject(Rule::new("/blobs/uploads/", Fault::status(413, "SIZE_INVALID")).method("PUT").times(1));
    registry.inject(Rule::new("/blobs/uploads/", Fault::Close).method("PATCH").after(1).times(1));
    lab.copy_as(&lab.layout.reference("x"), &registry.reference("app:v1"), &amd64().jobs(1))
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let blob = registry.find_blob("app", &image.layers[0].digest).unwrap();
    assert_eq!(sha256(&blob), image.layers[0].digest);
    let requests = registry.requests();
    let patches: Vec<&str> = requests.iter().filter_map(|request| request.header("content-range")).collect();
    // The answer to the second was lost, its bytes were not: nothing comes twice.
    assert_eq!(patches, ["0-16777215", "16777216-33554431", "33554432-40002047"]);
    assert!(requests.iter().any(|request| request.method == "GET" && request.path.contains("/uploads/")));
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A lab that waits so long for something to go forward, and tries once.
fn impatient(patience: Duration) -> Lab {
    let mut lab = Lab::new();
    let once = RetryOptions::default().limit(0);
    lab.registry = lab.registry.timeouts(Duration::from_secs(30), patience).retries(once);
    lab
}

fn timed_out(error: &Error) -> bool {
    matches!(error, Error::Registry(error) if matches!(error.fault, Answer::TimedOut { .. }))
}

#[test]
fn may_take_as_long_as_it_goes_forward() {
    let mut lab = impatient(millis(500));
    let registry = Registry::start(RegistryOptions::default().intake(Some(20 << 20)));
    let image = Image::new([layer(1, 30 << 20, Compression::Plain)]);
    lab.layout.image("x", &image);
    let begun = std::time::Instant::now();
    lab.copy(&lab.layout.reference("x"), &registry.reference("app:v1"))
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert!(begun.elapsed() >= millis(1500), "{:?}", begun.elapsed());
    assert!(registry.find_blob("app", &image.layers[0].digest).is_some());
}

#[test]
fn is_given_up_when_nothing_is_taken_any_more() {
    let mut lab = impatient(millis(300));
    let registry = Registry::start(RegistryOptions::default().intake(Some(1)));
    lab.layout.image("x", &Image::new([layer(1, 30 << 20, Compression::Plain)]));
    let error = lab.copy(&lab.layout.reference("x"), &registry.reference("app:v1")).unwrap_err();
    assert!(timed_out(&error), "{}", chain(&error));
}

#[test]
fn waits_longer_for_the_answer_and_not_for_ever() {
    for part in ["/blobs/uploads/", "/manifests/"] {
        let mut lab = impatient(millis(100));
        let registry = Registry::start(RegistryOptions::default());
        lab.layout.image("x", &large());
        registry.inject(Rule::new(part, Fault::Silence).method("PUT"));
        let begun = std::time::Instant::now();
        let error = lab.copy(&lab.layout.reference("x"), &registry.reference("app:v1")).unwrap_err();
        assert!(timed_out(&error), "{part}: {}", chain(&error));
        assert!(begun.elapsed() >= millis(500), "{:?}", begun.elapsed());
    }
}
