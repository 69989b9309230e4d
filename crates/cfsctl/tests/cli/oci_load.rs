use composefs_testkit::{
    images::{Compression, Image, Layer},
    sample,
};
use insta::assert_snapshot;

use crate::lab::Session;

const LOAD: [&str; 4] = ["--progress=none", "--jobs=1", "oci", "load"];

/// A session with archives of two images, and what they are.
fn session() -> (Session, String) {
    let session = Session::with_sample();
    let _ = session.run(["-q", "oci", "pull", "oci:sample", "docker://quay.io/team/app:v1"]).success();
    let mut layout = composefs_testkit::images::Layout::create(session.sandbox.path("layout"));
    layout.image("v1", &Image::new([Layer::new(sample::lower(), Compression::Gzip)]));
    let _ = session.run(["-q", "oci", "pull", "oci:layout:v1", "other"]).success();
    for (form, archive) in [("oci-archive", "oci.tar"), ("docker-archive", "docker.tar")] {
        let format = format!("--format={form}");
        let names = ["sample", "docker://quay.io/team/app:v1", "other"];
        let _ = session.run([&["-q", "oci", "save", &format][..], &names, &[archive]].concat()).success();
    }
    let ids = ids(&session, &["sample", "other"]);
    (session, ids)
}

fn ids(session: &Session, names: &[&str]) -> String {
    names.iter().map(|name| session.run(["oci", "compute-id", name]).success().text().to_owned()).collect()
}

#[test]
fn comes_back_with_the_same_ids() {
    let (mut session, expected) = session();
    for archive in ["oci.tar", "docker.tar"] {
        let _ = session.run(["-q", "oci", "rm", "sample", "docker://quay.io/team/app:v1", "other"]).success();
        let _ = session.run(["-q", "gc"]).success();
        session.see([&LOAD[..], &[archive]].concat());
        let names: &[&str] =
            if archive == "oci.tar" { &["sample", "other"] } else { &["sample:latest", "other:latest"] };
        assert_eq!(ids(&session, names), expected, "{archive}");
        if archive == "docker.tar" {
            let _ =
                session.run(["oci", "rm", "sample:latest", "other:latest", "quay.io/team/app:v1"]).success();
        } else {
            for (old, new) in [("sample", "sample"), ("quay.io/team/app:v1", "docker://quay.io/team/app:v1")]
            {
                let document = session.run(["oci", "inspect", "--manifest", old]).success();
                let digest = crate::lab::sha256(document.stdout.strip_suffix(b"\n").unwrap());
                let _ = session.run(["oci", "tag", &digest, new]).success();
            }
            let _ = session.run(["oci", "rm", "quay.io/team/app:v1"]).success();
        }
    }
    assert_snapshot!(session.text());
}

#[test]
fn out_of_a_pipe_and_packed() {
    let (mut session, expected) = session();
    let archive = std::fs::read(session.sandbox.path("oci.tar")).unwrap();
    session.see_fed(Compression::Zstd.pack(&archive), [&LOAD[..], &["--json", "-"]].concat());
    assert_snapshot!(session.text());
    assert_eq!(ids(&session, &["sample", "other"]), expected);
}

#[test]
fn names_and_none() {
    let (mut session, _) = session();
    let digest = session.run(["oci", "inspect", "--manifest", "other"]).success();
    let digest = crate::lab::sha256(digest.stdout.strip_suffix(b"\n").unwrap());
    let _ = session.run(["-q", "oci", "save", &format!("@{digest}"), "one.tar"]).success();
    session.see([&LOAD[..], &["one.tar"]].concat());
    session.see([&LOAD[..], &["one.tar", "another"]].concat());
    session.see([&LOAD[..], &["oci.tar", "another"]].concat());
    session.see([&LOAD[..], &["missing.tar"]].concat());
    session.see([&LOAD[..], &["sample/index.json"]].concat());
    session.sandbox.write("policy.json", r#"{"default":[{"type":"reject"}]}"#);
    session.see([&LOAD[..], &["--policy=policy.json", "oci.tar"]].concat());
    assert_snapshot!(session.text());
}
