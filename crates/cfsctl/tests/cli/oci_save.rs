use insta::assert_snapshot;

use crate::lab::Session;

const SAVE: [&str; 4] = ["--progress=none", "--jobs=1", "oci", "save"];

#[test]
fn archives_of_both_forms() {
    let mut session = Session::with_sample();
    let _ = session.run(["-q", "oci", "pull", "oci:sample", "team/app:v1"]).success();
    session.see([&SAVE[..], &["sample", "team/app:v1", "a.tar"]].concat());
    session.see([&SAVE[..], &["--format=docker-archive", "sample", "team/app:v1", "b.tar"]].concat());
    session.see([&SAVE[..], &["--compression=none", "--json", "sample", "deep/er/c.tar"]].concat());
    session.see([
        "--progress=plain",
        "--jobs=1",
        "oci",
        "save",
        "--compression=gzip",
        "--level=1",
        "sample",
        "d.tar",
    ]);
    let listed = |archive: &str| {
        let file = std::fs::File::open(session.sandbox.path(archive)).unwrap();
        let mut archive = tar::Archive::new(file);
        let names = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            format!("{} {}", entry.path().unwrap().display(), entry.size())
        });
        names.collect::<Vec<_>>().join("\n# ")
    };
    let (a, b) = (listed("a.tar"), listed("b.tar"));
    session.note(a);
    session.note(b);
    assert_snapshot!(session.text());
    // A pipe takes the same bytes.
    let piped =
        session.run(["-q", "oci", "save", "--format=docker-archive", "sample", "team/app:v1", "-"]).success();
    assert!(piped.stdout == std::fs::read(session.sandbox.path("b.tar")).unwrap());
}

#[test]
fn what_cannot_be_saved() {
    let mut session = Session::with_sample();
    for arguments in [
        &["missing", "a.tar"][..],
        &["a.tar"],
        &["sample", "missing", "a.tar"],
        &["sample", "sample"],
        &["--json", "sample", "-"],
        &["--format=docker-archive", "--compression=zstd", "sample", "a.tar"],
    ] {
        session.see([&["-q", "oci", "save"][..], arguments].concat());
    }
    assert_snapshot!(session.text());
    assert!(!session.sandbox.path("a.tar").exists());
}
