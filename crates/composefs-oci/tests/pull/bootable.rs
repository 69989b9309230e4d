//! Boot images: recorded beside the first image, kept by later pulls, found again by their digest.

use composefs::{digest::object_id_of, erofs::FormatVersion, filetree::XattrMode};
use composefs_oci::{
    Error,
    boot::{create, create_matching},
    find::linked_images,
    ident::boot_image_key,
    rootfs::RootfsOptions,
    stored::StoredImage,
};
use composefs_testkit::{
    images::{Compression, Image, Layer},
    tars::TarBuilder,
};

use crate::lab::Lab;

fn bootable() -> Image {
    let tar = TarBuilder::new()
        .dir("usr")
        .dir("boot")
        .dir("sysroot")
        .file("boot/vmlinuz", vec![7; 300])
        .file("usr/file", vec![8; 300])
        .finish();
    Image::new([Layer::new(tar, Compression::Gzip)])
}

#[test]
fn a_boot_image_is_recorded_and_kept() {
    let mut lab = Lab::new();
    let pulled = lab.pull_image("x", &bootable()).unwrap();
    let boot = create(&lab.writer, &pulled.manifest, FormatVersion::V1, &RootfsOptions::default()).unwrap();
    assert_ne!(boot.id, pulled.images[0].1);
    let stored = StoredImage::open_tag(&lab.writer, "x").unwrap();
    assert_eq!(stored.config().named(boot_image_key(FormatVersion::V1)), Some(&boot.id));
    assert_eq!(stored.config().image(FormatVersion::V1), Some(&pulled.images[0].1));

    let tree = composefs::image::tree(&lab.writer, &boot.id).unwrap();
    assert!(tree.lookup(&[b"boot", b"vmlinuz"]).is_err());
    assert!(tree.lookup(&[b"usr", b"file"]).is_ok());

    // Making it again, and pulling again, changes nothing.
    let before = *stored.config().stream();
    assert_eq!(
        create(&lab.writer, &pulled.manifest, FormatVersion::V1, &RootfsOptions::default()).unwrap(),
        boot
    );
    lab.pull("x").unwrap();
    assert_eq!(*StoredImage::open_tag(&lab.writer, "x").unwrap().config().stream(), before);
    lab.clean();

    let linked = linked_images(&lab.writer, &boot.id).unwrap();
    let rows: Vec<_> =
        linked.iter().map(|image| (image.bootable, image.version, image.xattr_mode.as_deref())).collect();
    assert_eq!(rows, [(false, 1, None), (true, 1, Some("allowlist-only"))]);
}

#[test]
fn a_known_digest_tells_format_and_mode() {
    let mut lab = Lab::new();
    let pulled = lab.pull_image("x", &bootable()).unwrap();
    let options = RootfsOptions::default();
    let old = create(&lab.writer, &pulled.manifest, FormatVersion::V2, &options).unwrap();
    let found = create_matching(&lab.writer, &pulled.manifest, &old.id, &options).unwrap();
    assert_eq!(
        (found.id, found.version, found.xattrs),
        (old.id, FormatVersion::V2, XattrMode::AllowlistOnly)
    );
    let wrong = object_id_of(lab.writer.algorithm(), b"no image");
    let error = create_matching(&lab.writer, &pulled.manifest, &wrong, &options).unwrap_err();
    assert!(matches!(error, Error::NoBootImage { tried: 4, .. }), "{error}");
    lab.clean();
}

#[test]
fn what_cannot_boot_stays_as_it_was() {
    let mut lab = Lab::new();
    let tar = TarBuilder::new().dir("usr").dir("boot").finish();
    let pulled = lab.pull_image("x", &Image::new([Layer::new(tar, Compression::Plain)])).unwrap();
    let before = *StoredImage::open_tag(&lab.writer, "x").unwrap().config().stream();
    let error =
        create(&lab.writer, &pulled.manifest, FormatVersion::V1, &RootfsOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Boot { .. }), "{error}");
    assert_eq!(*StoredImage::open_tag(&lab.writer, "x").unwrap().config().stream(), before);
    lab.clean();
}
