use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn what_an_image_says_about_files() {
    let mut session = Session::with_sample();
    let image = session.run(["oci", "compute-id", "sample"]).success().text().trim_end().to_owned();
    session.see(["dump-files", &image, "/"]);
    session.see(["dump-files", &image, "/usr/bin", "/usr/share/version", "/usr/share/numbers"]);
    session.see([
        "dump-files",
        "--backing-path-only",
        &image,
        "/usr/share/version",
        "/usr/share/numbers",
        "/usr/bin/hi",
    ]);
    session.see(["dump-files", "--backing-path-only", &image, "/usr"]);
    session.see(["dump-files", &image, "/none"]);
    session.see(["dump-files", "none", "/"]);
    session.see(["dump-files", &image]);
    assert_snapshot!(session.text());
}
