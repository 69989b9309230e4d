//! Images that leave the repository: pushed, with layers bit for bit what they were or packed anew.
#![cfg(feature = "registry")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod lab;

mod archives;
mod kept;
mod packing;
mod peers;
mod registries;
mod tars;

#[test]
fn no_file_is_forgotten() {
    composefs_testkit::no_module_is_forgotten("crates/composefs-oci/tests/export");
}
