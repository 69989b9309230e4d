//! What befalls a machine, befallen at every point: the program killed, its system calls failing, the disk full.
//!
//! Each scenario is an operation on a small repository. Its system calls are recorded once; then it is run again from
//! the same start with a fault at one of them, for as many of them as the mode asks for (see `scenario`).
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, clippy::print_stderr)]

use composefs_testkit::state;

mod scenario;

mod errors;
mod full_disk;
mod kill;
mod no_openat2;

#[test]
fn no_file_is_forgotten() {
    composefs_testkit::no_module_is_forgotten("crates/cfsctl/tests/faults");
}
