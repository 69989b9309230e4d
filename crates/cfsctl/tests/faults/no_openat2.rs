//! Kernels and sandboxes without openat2: all works, and nothing leads out of the repository.

use std::os::unix::fs::symlink;

use composefs_testkit::{
    Sandbox,
    faults::Faults,
    images::{Compression, Image, Layer, Layout},
    sample,
};

use crate::scenario::CFSCTL;

/// What a kernel says that does not have the call, and what some sandboxes say.
const ERRORS: [&str; 2] = ["ENOSYS", "EPERM"];

#[test]
fn objects_are_found_and_links_are_not_followed() {
    let Some(faults) = Faults::or_skip() else { return };
    for error in ERRORS {
        let sandbox = Sandbox::new(CFSCTL);
        let mut layout = Layout::create(sandbox.path("layout"));
        layout.image("one", &Image::new([Layer::new(sample::lower(), Compression::Gzip)]));
        let _ = sandbox.cfsctl(["init", "--insecure", "--algorithm", "fsverity-sha256-12"]).success();
        let repo = sandbox.repo();
        let run = |arguments: &[&str]| {
            let global = ["--progress=none".to_owned(), "--repo".to_owned(), repo.display().to_string()];
            let arguments = global.into_iter().chain(arguments.iter().map(|text| (*text).to_owned()));
            faults.without(&sandbox, "openat2", error, arguments)
        };
        let reference = layout.reference("one");
        let pulled = run(&["oci", "pull", &reference, "one"]);
        assert_eq!(pulled.output.code(), 0, "{}", pulled.output);
        let checked = run(&["fsck", "--deep"]);
        assert_eq!(checked.output.code(), 0, "{}", checked.output);
        assert!(pulled.hit() || checked.hit(), "nobody needs openat2 any more");

        // A directory of objects somewhere else, with the very objects in it.
        let objects = repo.join("objects");
        let first = std::fs::read_dir(&objects).unwrap().next().unwrap().unwrap().path();
        let outside = sandbox.path("outside");
        std::fs::rename(&first, &outside).unwrap();
        symlink(&outside, &first).unwrap();
        let checked = run(&["fsck", "--deep"]);
        assert_eq!(checked.output.code(), 1, "{}", checked.output);
    }
}
