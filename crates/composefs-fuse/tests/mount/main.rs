//! FUSE mounts for real: what they show, entry by entry, and how they end. As root, and as an ordinary user by
//! `fusermount3`; those in a user namespace are in `tests/namespace.rs`.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod scene;
mod shown;
mod checks;
mod beside;
mod endings;
mod user;

#[test]
fn every_file_is_a_module() {
    composefs_testkit::no_module_is_forgotten("crates/composefs-fuse/tests/mount");
}
