use composefs_testkit::{
    images::{Compression, Image, Layer, Layout, gzip, layer_of_noise},
    peers, require, sample,
    tars::TarBuilder,
};
use insta::assert_snapshot;
use serde_json::json;

use crate::lab::Session;

#[test]
fn the_sample_image() {
    let mut session = Session::with_repository();
    sample::write(&session.sandbox.path("sample"));
    let pull = ["--progress=none", "oci", "pull", "oci:sample"];
    session.see([&pull[..], &["sample"]].concat());
    session.see([&pull[..], &["sample"]].concat());
    session.see(pull);
    session.see([&["--progress=none", "oci", "pull", "--json", "oci:sample:latest", "third"][..]].concat());
    session.see(["oci", "images"]);
    session.see(["oci", "fsck"]);
    assert_snapshot!(session.text());
}

#[test]
fn archives_plain_and_packed() {
    let session = Session::with_repository();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    let image = Image::new([Layer::new(sample::lower(), Compression::Gzip)]);
    let written = layout.image("v1", &image);
    for (name, compression) in
        [("plain", Compression::Plain), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)]
    {
        session.sandbox.write(name, layout.archive(compression));
        let pulled = session.run(["-q", "oci", "pull", &format!("oci-archive:{name}:v1"), name]).success();
        let first = pulled.text().lines().next().unwrap();
        assert_eq!(first, format!("manifest {}", written.manifest.digest));
    }
    let _ = session.run(["oci", "fsck"]).success();
}

#[test]
fn out_of_podmans_store() {
    let Some(skopeo) = peers::skopeo_or_skip() else { return };
    let mut session = Session::with_repository();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    layout.image("v1", &Image::new([Layer::new(sample::lower(), Compression::Gzip)]));
    let (root, run) = (session.sandbox.path("store"), session.sandbox.path("run"));
    let name = format!("containers-storage:[vfs@{}+{}]localhost/app:v1", root.display(), run.display());
    let copy = ["--insecure-policy", "copy", "--quiet", "oci:layout:v1", &name];
    if session.sandbox.invocation_of(skopeo).args(copy).run().code() != 0 {
        require::skip("needs a skopeo that can fill a store");
        return;
    }
    // As podman finds it.
    let conf =
        session.sandbox.write("storage.conf", format!("[storage]\ngraphroot = '{}'\n", root.display()));
    let pull = |arguments: &[&str]| {
        let invocation = session.sandbox.invocation().env("CONTAINERS_STORAGE_CONF", &conf);
        invocation.arg("--repo").arg(session.sandbox.repo()).args(["-q", "oci", "pull"]).args(arguments).run()
    };
    let outputs = [
        pull(&["containers-storage:localhost/app:v1", "app"]),
        pull(&["--local-fetch=auto", "containers-storage:app:v1", "again"]),
        pull(&["containers-storage:localhost/other", "other"]),
    ];
    for output in &outputs {
        session.add(output);
    }
    session.see(["oci", "images"]);
    assert_snapshot!(session.text());
}

#[test]
fn what_was_expected() {
    let mut session = Session::with_repository();
    let written = sample::write(&session.sandbox.path("sample"));
    let pull = |digest: &str| {
        ["-q", "oci", "pull", "oci:sample", "sample", "--expected-digest", digest].map(str::to_owned)
    };
    session.see(pull(&written.config.digest));
    session.see(["oci", "images"]);
    session.see(pull(&written.manifest.digest));
    session.see(pull("0123"));
    session.see(pull("sha256:0123"));
    assert_snapshot!(session.text());
}

#[test]
fn references_that_are_none() {
    let mut session = Session::with_repository();
    sample::write(&session.sandbox.path("sample"));
    for reference in [
        "./nonsense",
        "Nonsense",
        "oci:missing",
        "oci:sample:none",
        "oci-archive:missing.tar",
        "oci:",
        "ftp:/x",
        "oci:sample/oci-layout",
    ] {
        session.see(["-q", "oci", "pull", reference]);
    }
    for tag in ["", "@at", "a\0b"] {
        if !tag.contains('\0') {
            session.see(["-q", "oci", "pull", "oci:sample", tag]);
        }
    }
    session.see(["-q", "oci", "pull", "--bootable", "--no-image", "oci:sample", "x"]);
    session.see(["-q", "oci", "pull", "--platform", "nonsense", "oci:sample", "x"]);
    session.see(["oci", "images"]);
    assert_snapshot!(session.text());
}

fn tree() -> TarBuilder {
    TarBuilder::new().dir("usr").file("usr/file", "x".repeat(1000))
}

/// Pulls a layout that something was done to; nothing of it may be named afterwards.
fn damaged(layer: Layer, damage: impl FnOnce(&Layout, &composefs_testkit::images::Written, &str)) -> String {
    let mut session = Session::with_repository();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    let blob = layer.digest.clone();
    let written = layout.image("v1", &Image::new([layer]));
    damage(&layout, &written, &blob);
    let output = session.run(["-q", "oci", "pull", "oci:layout:v1", "bad"]).exited(1);
    session.add(&output);
    session.see(["oci", "images"]);
    let fsck = session.run(["oci", "fsck"]).success();
    assert!(fsck.text().contains("streams: 0/0 ok\nimages: 0/0 ok"), "{fsck}");
    session.text().to_owned()
}

#[test]
fn damage_is_named_and_nothing_is_registered() {
    let layer = || Layer::new(tree().finish(), Compression::Gzip);
    let zeros = format!("sha256:{}", "0".repeat(64));
    let mut text = String::new();
    let mut case = |name: &str, transcript: String| text.push_str(&format!("## {name}\n{transcript}"));
    case(
        "a blob with other contents",
        damaged(layer(), |layout, _, blob| layout.damage(blob, |bytes| bytes[20] ^= 1)),
    );
    case(
        "a whole other blob",
        damaged(layer(), |layout, _, blob| {
            layout.damage(blob, |bytes| {
                let other = gzip(&TarBuilder::new().dir("etc").file("usr/file", "y".repeat(1000)).finish());
                bytes.clear();
                bytes.extend(other);
            });
        }),
    );
    case("a wrong blob digest", damaged(layer().claim_digest(&zeros), |_, _, _| {}));
    case("a wrong size", damaged(layer().claim_size(1), |_, _, _| {}));
    case("a wrong diff_id", damaged(layer().claim_diff_id(&zeros), |_, _, _| {}));
    case("a cut layer", damaged(layer().cut(100), |_, _, _| {}));
    case("a missing layer", damaged(layer(), |layout, _, blob| layout.remove(blob)));
    case("a missing config", damaged(layer(), |layout, written, _| layout.remove(&written.config.digest)));
    case(
        "a config with other contents",
        damaged(layer(), |layout, written, _| {
            layout.damage(&written.config.digest, |bytes| bytes.push(b' '));
        }),
    );
    case(
        "a manifest with other contents",
        damaged(layer(), |layout, written, _| {
            layout.damage(&written.manifest.digest, |bytes| bytes.push(b' '));
        }),
    );
    case(
        "a missing manifest",
        damaged(layer(), |layout, written, _| layout.remove(&written.manifest.digest)),
    );
    case(
        "no index.json",
        damaged(layer(), |layout, _, _| {
            std::fs::remove_file(layout.path().join("index.json")).unwrap();
        }),
    );
    assert_snapshot!(text);
}

#[test]
fn layers_that_no_tree_can_be_made_of() {
    let mut text = String::new();
    for (name, tar) in [
        ("a name that escapes", TarBuilder::new().file("../../etc/passwd", "x").finish()),
        ("a link that escapes", TarBuilder::new().dir("usr").hardlink("usr/a", "../../etc/passwd").finish()),
        ("a link to nothing", TarBuilder::new().dir("usr").hardlink("usr/a", "usr/none").finish()),
        ("garbage in the middle", TarBuilder::new().dir("usr").raw([0x55; 512]).finish()),
        ("a file that is cut", {
            let mut tar = tree().finish();
            tar.truncate(512 * 3);
            tar
        }),
    ] {
        let mut session = Session::with_repository();
        let mut layout = Layout::create(session.sandbox.path("layout"));
        layout.image("v1", &Image::new([Layer::new(tar, Compression::Plain)]));
        let output = session.run(["-q", "oci", "pull", "oci:layout:v1", "bad"]).exited(1);
        session.add(&output);
        session.see(["oci", "images"]);
        text.push_str(&format!("## {name}\n{}", session.text()));
    }
    assert_snapshot!(text);
}

#[test]
fn a_platform_of_several() {
    let mut session = Session::with_repository();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    let layer = |name: &str| {
        Layer::new(TarBuilder::new().dir("usr").file("usr/arch", name).finish(), Compression::Gzip)
    };
    let images = ["amd64", "arm64", "riscv64"]
        .map(|name| layout.write(&Image::new([layer(name)]).platform(name, None)));
    layout.index("multi", &images);
    let pull = |platform: &str, tag: &str| {
        ["-q", "oci", "pull", "--platform", platform, "oci:layout:multi", tag].map(str::to_owned)
    };
    session.see(pull("linux/arm64", "arm"));
    session.see(pull("linux/riscv64", "riscv"));
    session.see(pull("linux/s390x", "none"));
    session.see(["oci", "images"]);
    assert_snapshot!(session.text());
}

#[test]
fn artifacts_have_no_file_system() {
    let mut session = Session::with_repository();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    let blob = Layer::packed(b"a signature".to_vec(), b"a signature".to_vec(), "application/octet-stream");
    layout.image(
        "sig",
        &Image::artifact("application/vnd.example", [blob]).manifest("annotations", json!({"a": "b"})),
    );
    session.see(["-q", "oci", "pull", "oci:layout:sig", "thing"]);
    session.see(["oci", "images"]);
    session.see(["oci", "images", "--json"]);
    session.see(["oci", "dump", "thing"]);
    session.see(["oci", "mount", "thing", "mnt"]);
    session.see(["oci", "fsck"]);
    assert_snapshot!(session.text());
}

#[test]
fn erofs_versions_and_strictness() {
    let mut session = Session::with_repository();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    layout.image("v1", &Image::new([Layer::new(tree().finish(), Compression::Gzip)]));
    session.see(["-q", "--erofs-version", "2", "oci", "pull", "--json", "oci:layout:v1", "two"]);
    session.see(["-q", "oci", "pull", "--json", "oci:layout:v1", "one"]);
    // No directory entries above the file: upstream refuses that.
    let bare = TarBuilder::new().file("usr/share/deep/file", "x".repeat(100)).finish();
    layout.image("bare", &Image::new([Layer::new(bare, Compression::Gzip)]));
    session.see(["-q", "--strict", "oci", "pull", "oci:layout:bare", "strict"]);
    session.see(["-q", "oci", "pull", "oci:layout:bare", "lenient"]);
    session.see(["oci", "images"]);
    assert_snapshot!(session.text());
}

/// Whoever reads stderr by program finds an event on every line, also where it begins and when it goes wrong.
#[test]
fn events_are_all_that_stderr_has() {
    let session = Session::with_repository();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    layout.image("v1", &Image::new([layer_of_noise(1, 3_000, Compression::Gzip)]));
    let repository = session.sandbox.path("new");
    for (reference, first, last) in [("oci:layout:v1", "note", "layer"), ("oci:missing", "error", "error")] {
        let output = session.sandbox.bare([
            "--repo".as_ref(),
            repository.as_os_str(),
            "--progress=json".as_ref(),
            "oci".as_ref(),
            "pull".as_ref(),
            reference.as_ref(),
            "x".as_ref(),
        ]);
        let talk = output.talk();
        let events: Vec<serde_json::Value> = talk
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{talk}")))
            .collect();
        assert_eq!(events[0]["event"], first, "{talk}");
        assert!(events.iter().any(|event| event["event"] == last), "{talk}");
    }
}
