use std::{fs, os::fd::AsFd as _};

use super::*;

fn names(directory: &tempfile::TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs with both kinds of temporary: this machine's file systems all have unnamed ones.
fn both(test: impl Fn(&tempfile::TempDir, Nursery<'_>, &dyn Fn() -> Temporary)) {
    for named in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let fd = fs::File::open(directory.path()).unwrap();
        let nursery =
            Nursery { directory: fd.as_fd(), below: ".", prefix: OBJECT_PREFIX, modes: Modes::new() };
        let create =
            || if named { Temporary::create_named(nursery) } else { Temporary::create(nursery) }.unwrap();
        test(&directory, nursery, &create);
    }
}

#[test]
fn a_name_that_is_taken_stays() {
    both(|directory, nursery, create| {
        assert!(create().publish(nursery.directory, "a").unwrap());
        fs::write(directory.path().join("a"), b"first").unwrap();
        assert!(!create().publish(nursery.directory, "a").unwrap());
        assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"first");
        drop(create());
        assert_eq!(names(directory), ["a"]);
    });
}

#[test]
fn replacing_leaves_one_file() {
    both(|directory, nursery, create| {
        fs::write(directory.path().join("a"), b"damaged").unwrap();
        let mut temporary = create();
        rustix::io::write(temporary.fd(), b"good").unwrap();
        temporary.make_read_only().unwrap();
        temporary.replace(nursery, nursery.directory, "a").unwrap();
        assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"good");
        assert_eq!(names(directory), ["a"]);
    });
}

#[test]
fn what_is_settled_has_a_name_and_then_its_own() {
    both(|directory, nursery, create| {
        let mut temporary = create();
        temporary.settle(nursery, directory.path(), None).unwrap();
        let meanwhile = names(directory);
        assert!(meanwhile.len() == 1 && meanwhile[0].starts_with(OBJECT_PREFIX), "{meanwhile:?}");
        assert!(temporary.publish(nursery.directory, "a").unwrap());
        assert_eq!(names(directory), ["a"]);
        let mut temporary = create();
        let barrier = Barrier::open(nursery.directory, directory.path()).unwrap();
        temporary.settle(nursery, directory.path(), Some(&barrier)).unwrap();
        assert!(!temporary.publish(nursery.directory, "a").unwrap());
        assert_eq!(names(directory), ["a"]);
    });
}

#[test]
fn symlinks_are_swapped_and_nothing_else_is() {
    both(|directory, nursery, _| {
        let swap = |target| swap_symlink(nursery.directory, nursery.directory, "link", target);
        assert_eq!(swap("one").unwrap(), Swap::Made);
        assert_eq!(swap("one").unwrap(), Swap::Unchanged);
        assert_eq!(swap("two").unwrap(), Swap::Replaced);
        assert_eq!(fs::read_link(directory.path().join("link")).unwrap().to_str(), Some("two"));
        fs::remove_file(directory.path().join("link")).unwrap();
        fs::write(directory.path().join("link"), b"mine").unwrap();
        assert!(swap("one").is_err());
        assert_eq!(fs::read(directory.path().join("link")).unwrap(), b"mine");
        assert_eq!(names(directory), ["link"]);
    });
}
