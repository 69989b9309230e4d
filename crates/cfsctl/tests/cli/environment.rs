//! Nothing around the program changes an id: not the mask of modes, the locale, the time zone, the number of threads.

use std::os::unix::fs::PermissionsExt as _;

use crate::lab::{CFSCTL, Session};

/// Everything that one import and its lookups print.
fn everything(session: &Session, mask: &str, variables: &[(&str, &str)], jobs: &str) -> String {
    let repo = session.sandbox.path(format!("repo-{mask}-{jobs}"));
    let mut text = String::new();
    for arguments in [
        &["init", "--insecure", "--algorithm", "fsverity-sha256-12"][..],
        &["-q", "--jobs", jobs, "oci", "pull", "oci:sample", "sample"],
        &["create-image", "tree", "tree"],
        &["images", "--json"],
        &["oci", "images"],
        &["oci", "dump", "sample"],
        &["oci", "compute-id", "sample"],
        &["create-dumpfile", "tree"],
        &["fsck"],
    ] {
        // The mask is a thing of the process: a shell sets it and becomes the program.
        let mut run = session.sandbox.invocation_of("sh").args(["-c", "umask $0; exec \"$@\"", mask, CFSCTL]);
        for (name, value) in variables {
            run = run.env(name, value);
        }
        let output = run.arg("--repo").arg(&repo).args(arguments).run().success();
        text.push_str(output.text());
    }
    text.replace(&repo.display().to_string(), "[REPO]")
}

#[test]
fn ids_depend_on_nothing_around_the_program() {
    let session = Session::new();
    composefs_testkit::sample::write(&session.sandbox.path("sample"));
    session.tree();
    let plain = everything(&session, "022", &[], "1");
    let odd = everything(
        &session,
        "077",
        &[
            ("LC_ALL", "tr_TR.UTF-8"),
            ("LANG", "de_DE.UTF-8"),
            ("TZ", "Pacific/Kiritimati"),
            ("SOURCE_DATE_EPOCH", "1"),
        ],
        "7",
    );
    assert_eq!(plain, odd);
    assert_eq!(plain, everything(&session, "000", &[("COLUMNS", "20"), ("NO_COLOR", "")], "2"));
    // What is shared with other programs is readable by them, whatever the mask was.
    let mode = |name: &str| {
        let path = session.sandbox.path("repo-077-7").join(name);
        path.metadata().unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("meta.json") & 0o444, 0o444, "{:o}", mode("meta.json"));
}
