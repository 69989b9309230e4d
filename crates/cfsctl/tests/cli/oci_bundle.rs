use std::{fs, os::unix::fs::PermissionsExt as _};

use composefs_testkit::images::{Compression, Image, Layer, Layout};
use composefs_testkit::tars::TarBuilder;
use insta::assert_snapshot;
use serde_json::json;

use crate::lab::Session;

/// A repository with an image that says all that an image can.
fn session() -> Session {
    let session = Session::with_repository();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    let tar = TarBuilder::new()
        .dir("etc")
        .file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n")
        .file("etc/group", "www:x:34:\nlog:x:4:web\n")
        .finish();
    let image = Image::new([Layer::new(tar, Compression::Gzip)])
        .config("User", json!("web"))
        .config("Entrypoint", json!(["/bin/serve"]))
        .config("Cmd", json!(["--all"]))
        .config("WorkingDir", json!("/srv"))
        .config("Env", json!(["PATH=/bin", "MODE=plain"]))
        .config("Volumes", json!({"/srv/data": {}}))
        .config("StopSignal", json!("SIGQUIT"))
        .config("ExposedPorts", json!({"80/tcp": {}, "443/tcp": {}}))
        .config("Labels", json!({"team": "web"}));
    layout.image("web", &image);
    let _ = session.run(["-q", "oci", "pull", "oci:layout:web", "web"]).success();
    session
}

#[test]
fn config_json_is_what_the_image_says() {
    let mut session = session();
    let bundle = ["oci", "bundle", "--no-mount", "--net=none", "--seccomp=unconfined"];
    session.see([&bundle[..], &["web", "made"]].concat());
    let path = session.sandbox.path("made/config.json");
    assert_snapshot!("config_json", fs::read_to_string(&path).unwrap());
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::create_dir(session.sandbox.path("empty")).unwrap();
    session.see(
        [&bundle[..], &["--json", "--read-only", "-u", "77", "-e", "MODE=other", "web", "empty", "--none"]]
            .concat(),
    );
    assert_snapshot!(
        "config_json_changed",
        fs::read_to_string(session.sandbox.path("empty/config.json")).unwrap()
    );
    assert_snapshot!(session.text());
}

#[test]
fn what_cannot_be_says_why_and_leaves_nothing() {
    let mut session = session();
    fs::write(session.sandbox.path("profile.json"), "{}").unwrap();
    let bundle = ["oci", "bundle", "--no-mount"];
    for wrong in [
        &["web", "."][..],
        &["web", "missing/parent"],
        &["none", "b"],
        &["-u", "nobody", "web", "b"],
        &["-u", "web:nobody", "web", "b"],
        &["-w", "relative", "web", "b"],
        &["-e", "=x", "web", "b"],
        &["-v", "/:relative", "web", "b"],
        &["-v", "/none:/a", "web", "b"],
        &["-v", "/:/a:fast", "web", "b"],
        &["--cap-add", "FLY", "web", "b"],
        &["--seccomp", "profile.json", "web", "b"],
        &["--entrypoint", "[1", "web", "b"],
        &["--entrypoint", "", "web", "b"],
        &["--net", "bridge", "web", "b"],
    ] {
        session.see([&bundle[..], wrong].concat());
    }
    assert!(!session.sandbox.path("b").exists());
    assert_snapshot!(session.text());
}

#[test]
fn a_runtime_has_to_be_there() {
    let session = session();
    for wish in [&["--runtime", "none-such"][..], &["--runtime", "/none/such"]] {
        let output = session.run([&["oci", "run"][..], wish, &["web"]].concat());
        assert_eq!(output.code(), 1, "{output}");
        assert!(output.to_string().contains("no such program"), "{output}");
    }
    let output = session.run(["oci", "run", "--name", "a/b", "web"]);
    assert_eq!(output.code(), 2, "{output}");
}
