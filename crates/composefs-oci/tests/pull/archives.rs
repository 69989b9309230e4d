//! Layouts inside a tar: packed or not, in any order, under odd names, cut.

use composefs::progress::Silent;
use composefs_oci::{
    Error,
    pull::{PullOptions, Pulled},
};
use composefs_testkit::{
    images::{Compression, Image, Layer},
    tars::TarBuilder,
};

use crate::lab::{Lab, chain, layer};

const COMPRESSIONS: [Compression; 3] = [Compression::Plain, Compression::Gzip, Compression::Zstd];

fn two_layers() -> [Layer; 2] {
    [layer(1, 600_000, Compression::Gzip), layer(2, 3_000, Compression::Zstd)]
}

fn pull(lab: &Lab, archive: &[u8]) -> Result<Pulled, Error> {
    let path = lab.path().join("archive.tar");
    std::fs::write(&path, archive).unwrap();
    let reference = format!("oci-archive:{}:x", path.display());
    lab.pull_as(&reference, &PullOptions::default().tag("x").jobs(2), &Silent)
}

#[test]
fn packed_or_not() {
    let mut lab = Lab::new();
    let reference = lab.pull_image("x", &Image::new(two_layers())).unwrap();
    for compression in COMPRESSIONS {
        for prefix in ["", "./", "/", ".//./"] {
            // The index and the marker come last in these.
            let archive = lab.layout.archive_below(prefix, compression);
            let mut other = Lab::new();
            let pulled = pull(&other, &archive)
                .unwrap_or_else(|error| panic!("{compression:?} {prefix}: {}", chain(&error)));
            assert_eq!((&pulled.manifest, &pulled.images), (&reference.manifest, &reference.images));
            other.clean();
            other.reopen();
            assert_eq!(pull(&other, &archive).unwrap().objects.new, 0);
        }
    }
}

#[test]
fn through_a_pipe() {
    let mut lab = Lab::new();
    lab.layout.image("x", &Image::new(two_layers()));
    let archive = lab.layout.archive(Compression::Gzip);
    let path = lab.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    std::thread::scope(|scope| {
        // A writer is there before the pipe is opened for reading; the data come later.
        let keep = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let writing = path.clone();
        scope.spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(300));
            std::fs::write(writing, archive).unwrap();
            drop(keep);
        });
        let reference = format!("oci-archive:{}:x", path.display());
        lab.pull_as(&reference, &PullOptions::default().tag("x"), &Silent).unwrap();
    });
    // Nobody writes: an empty archive, and no waiting for ever.
    let error = lab.pull_as(&format!("oci-archive:{}", path.display()), &PullOptions::default(), &Silent);
    assert!(matches!(error, Err(Error::NotALayout { .. })), "{error:?}");
}

#[test]
fn cut_anywhere() {
    let mut lab = Lab::new();
    lab.layout.image("x", &Image::new([layer(1, 20_000, Compression::Gzip)]));
    for compression in COMPRESSIONS {
        let archive = lab.layout.archive(compression);
        // What a tar ends with carries nothing: a cut there is none.
        let last = if compression == Compression::Plain { archive.len() - 1024 } else { archive.len() };
        for cut in [0, 1, 4, 511, 512, 1000, 3_000, last / 2, last - 700, last - 1] {
            let fresh = Lab::new();
            let error = pull(&fresh, &archive[..cut]).expect_err(&format!("{compression:?} {cut}"));
            fresh.nothing_but(&error, "archive.tar", &[]);
        }
    }
}

#[test]
fn wrong_archives() {
    let mut lab = Lab::new();
    lab.layout.image("x", &Image::new([layer(1, 20_000, Compression::Gzip)]));
    let archive = lab.layout.archive(Compression::Plain);
    let members = &archive[..archive.len() - 1024];
    for (archive, text) in [
        (TarBuilder::new().finish(), "oci-layout"),
        (b"what is this".repeat(100), "archive.tar"),
        (TarBuilder::new().file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#).finish(), "index.json"),
        (TarBuilder::new().file("manifest.json", "[]").finish(), "oci-layout"),
    ] {
        let error = pull(&lab, &archive).unwrap_err();
        lab.nothing_but(&error, text, &[]);
    }
    // Strange members beside the layout are passed over, since nothing is unpacked: names that climb, long ones,
    // devices, unknown types, links.
    let long = format!("blobs/{}", "n".repeat(5_000));
    let strange = TarBuilder::new()
        .file(&long, [7; 100])
        .char_device("blobs/null", 1, 3)
        .member(tar::EntryType::new(b'Z'), b"what", b"", composefs_testkit::tars::Meta::default(), &[7; 100])
        .symlink("blobs/link", "../../..")
        .hardlink("blobs/hard", "blobs/link")
        .file("../up", [7; 100])
        .file("blobs/../index.json", [7; 100])
        .raw(members)
        .finish();
    pull(&lab, &strange).unwrap();
    lab.clean();

    let error = lab.pull_as(
        &format!("oci-archive:{}", lab.layout.path().display()),
        &PullOptions::default(),
        &Silent,
    );
    assert!(matches!(error, Err(Error::NotALayout { .. })), "{error:?}");
    let missing = lab.path().join("missing.tar");
    let error = lab.pull_as(&format!("oci-archive:{}", missing.display()), &PullOptions::default(), &Silent);
    assert!(chain(&error.unwrap_err()).contains("missing.tar"));
}

#[test]
fn wrong_blobs_in_an_archive() {
    let mut lab = Lab::new();
    let layers = two_layers();
    lab.layout.image("x", &Image::new(layers.clone()));
    lab.layout.damage(&layers[1].digest, |blob| blob[2_000] ^= 1);
    let archive = lab.layout.archive(Compression::Plain);
    let error = pull(&lab, &archive).unwrap_err();
    lab.nothing_but(&error, &layers[1].digest, &[&layers[0]]);
    lab.layout.remove(&layers[1].digest);
    let mut fresh = Lab::new();
    fresh.reopen();
    let error = pull(&fresh, &lab.layout.archive(Compression::Gzip)).unwrap_err();
    assert!(matches!(error, Error::BlobMissing { .. }), "{error:?}");
    assert!(error.to_string().contains(&layers[1].digest));
}
