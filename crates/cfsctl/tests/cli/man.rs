use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn a_page_for_each_verb() {
    let session = Session::new();
    let output = session.sandbox.bare(["man", "made/pages"]).success();
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output}");
    let mut names: Vec<_> = std::fs::read_dir(session.sandbox.path("made/pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let page = std::fs::read_to_string(session.sandbox.path("made/pages/cfsctl-fsck.1")).unwrap();
    assert!(page.contains("metadata\\-only"), "{page}");
    assert_snapshot!(names.join("\n"));
}
