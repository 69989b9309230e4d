use composefs_testkit::{
    Output, Sandbox,
    images::{Compression, Image, Layer, Layout},
    sample,
    tars::TarBuilder,
};
use insta::assert_snapshot;
use serde_json::Value;

use crate::lab::Session;

/// Blocks are of the file system that the test is run on.
pub(crate) fn any_disk(output: Output) -> Output {
    output.redact(|list| {
        list.pattern(r"\b\d+(\.\d+)? ?(B|[KMGT]iB) on disk", "[SIZE] on disk");
        list.pattern(r#""disk_bytes": \d+"#, "\"disk_bytes\": [SIZE]");
    })
}

/// Images in a layout: `one` and `two` share their lowest layer and a file, `other` shares a file with `two`.
pub(crate) fn images(sandbox: &Sandbox) -> Layout {
    let mut layout = Layout::create(sandbox.path("layout"));
    let lower = || Layer::new(sample::lower(), Compression::Gzip);
    let of = |name: &str, text: &str| {
        let tar = TarBuilder::new()
            .dir("opt")
            .file(&format!("opt/{name}"), text.repeat(400))
            .file("opt/same", "the same in both\n".repeat(50))
            .finish();
        Layer::new(tar, Compression::Gzip)
    };
    layout.image("one", &Image::new([lower(), of("one", "1 of many\n")]));
    layout.image("two", &Image::new([lower(), of("two", "2 of many\n")]));
    layout.image("other", &Image::new([of("other", "3 of many\n")]));
    let blob = Layer::packed(b"x".repeat(300), b"x".repeat(300), "application/x-blob");
    layout.image("artifact", &Image::artifact("application/x-thing", [blob]));
    layout
}

pub(crate) fn with_images() -> (Session, Layout) {
    let session = Session::with_repository();
    let layout = images(&session.sandbox);
    for name in ["one", "two", "other", "artifact"] {
        let _ =
            session.run(["--progress=none", "oci", "pull", &format!("oci:layout:{name}"), name]).success();
    }
    (session, layout)
}

fn digest_of(session: &Session, tag: &str) -> String {
    let images = session.run(["oci", "images", "--json"]).success().json();
    let images = images["images"].as_array().unwrap();
    let image = images.iter().find(|image| image["name"] == tag).unwrap();
    image["manifest_digest"].as_str().unwrap().to_owned()
}

#[test]
fn images_and_what_has_no_name() {
    let (mut session, _) = with_images();
    let one = digest_of(&session, "one");
    let see = |session: &mut Session, arguments: &[&str]| {
        let output = any_disk(session.run(arguments));
        session.add(&output);
    };
    let _ = session.run(["oci", "tag", &one, "also/one"]).success();
    see(&mut session, &["du"]);
    see(&mut session, &["du", "other", &one]);
    see(&mut session, &["du", "--json", "two"]);
    session.note("Without tags");
    let _ = session.run(["oci", "untag", "other"]).success();
    let _ = session.run(["oci", "pull", "--no-image", "oci:layout:other", "again"]).success();
    let tree = session.tree();
    let _ = session.run(["create-image", tree.join("usr/share").to_str().unwrap()]).success();
    let _ = session.run(["oci", "untag", "two"]).success();
    let made = session.run(["du", "--json"]).success().json();
    let kinds: Vec<&str> =
        made["images"].as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["tagged", "tagged", "tagged", "untagged", "unnamed"]);
    let plan = session.run(["gc", "--dry-run", "--json"]).success().json();
    let objects = plan["plan"]["objects"].as_array().unwrap();
    assert_eq!(made["total"]["garbage"]["objects"], objects.len());
    let bytes: u64 = objects.iter().map(|object| object["size"].as_u64().unwrap()).sum();
    assert_eq!(made["total"]["garbage"]["bytes"], bytes);
    see(&mut session, &["du", "nobody"]);
    see(&mut session, &["du", "@sha256:1"]);
    assert_snapshot!(session.text());
}

#[test]
fn what_is_mounted_is_not_freed() {
    let session = Session::with_sample();
    let inspected = session.run(["oci", "inspect", "sample"]).success().json();
    let image = inspected["composefs_erofs"].as_str().unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let records = session.sandbox.path("repo/images/refs/x-mounts");
    std::fs::create_dir_all(&records).unwrap();
    for (name, counts) in [("00000000-0000-0000-0000-000000000000", false), (boot.trim(), true)] {
        std::os::unix::fs::symlink(format!("../../{image}"), records.join(format!("{name}-7"))).unwrap();
        let usage = session.run(["du", "--json"]).success().json();
        let images = usage["images"].as_array().unwrap();
        assert_eq!(images.len(), if counts { 2 } else { 1 });
        assert_eq!(images[0]["shared"]["objects"].as_u64().unwrap() > 0, counts, "{usage}");
        if counts {
            assert_eq!((&images[1]["kind"], &images[1]["image"]), (&"mounted".into(), &image.into()));
            assert_eq!(images[1]["apparent_bytes"], images[0]["apparent_bytes"]);
            assert!(!images[1]["apparent_bytes"].is_null());
        }
    }
}

#[test]
fn damage_is_named_and_the_rest_is_told() {
    let (mut session, _) = with_images();
    let link = session.sandbox.path("repo/streams/refs/oci/other");
    let manifest = std::fs::canonicalize(link).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    let output = any_disk(session.run(["du"]));
    session.add(&output);
    let output = any_disk(session.run(["du", "--json", "one"]));
    assert_eq!(output.code(), 1, "{output}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["total"]["gc_is_held_back"], true);
    let none = Session::new();
    let output = none.run(["du"]);
    session.add(&output);
    assert_snapshot!(session.text());
}

/// Own is what a collection frees when only that image goes: asked for each, then done.
#[test]
fn own_is_what_gc_frees() {
    let (session, _) = with_images();
    let _ = session.run(["gc"]).success();
    for tag in ["other", "one", "artifact", "two"] {
        let usage = session.run(["du", "--json", tag]).success().json();
        let own = &usage["images"][0]["own"];
        let said = session.run(["oci", "rm", "--dry-run", "--json", tag]).success().json();
        assert_eq!(&said["freed"], own, "{tag}");
        let done = session.run(["oci", "rm", "--json", tag]).success().json();
        assert_eq!(&done["freed"], own, "{tag}");
        let report = session.run(["gc", "--json"]).success().json();
        assert_eq!(report["objects_removed"], own["objects"], "{tag}");
        assert_eq!(report["bytes"], own["bytes"], "{tag}");
    }
    let empty = session.run(["du", "--json"]).success().json();
    assert_eq!(empty["total"]["objects"]["objects"], 0, "{empty}");
}
