//! Test support of composefs-oci; never published, never a dependency outside `[dev-dependencies]`.
//!
//! What is here, in the order in which it builds up:
//!
//! * [`require`]: a test that cannot run says so loudly, or fails where nothing may be skipped.
//! * [`redact`]: the one list of what varies between runs and must not show in a snapshot.
//! * [`output`]: what a program did, as one printable value.
//! * [`sandbox`]: hermetic runs of cfsctl in a directory that goes away.
//! * [`tars`] and [`images`]: odd archives and images, the same bytes on every machine.
//! * [`docker`]: what `docker save` writes, and a daemon that hands it out.
//! * [`registry`]: a registry in memory that does what it should, or misbehaves on request.
//! * [`sample`]: the sample image that ships with the project.
//! * [`peers`]: the other implementations to compare with; [`docker_registry`] runs one of them.
//! * [`state`]: all that a repository holds, to compare what an operation that was cut short has left.
//! * [`faults`]: system calls that fail, and kills, at a point of our choice.
//! * [`vm`]: a machine with real fs-verity, for what needs root and a kernel of our choice.
//!
//! Everything here panics where a test would have to give up anyway: that keeps tests short.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

pub mod require;
pub mod redact;
pub mod output;
pub mod sandbox;
pub mod tars;
pub mod images;
pub mod docker;
pub mod registry;
pub mod sample;
pub mod peers;
pub mod docker_registry;
pub mod state;
pub mod faults;
pub mod users;
pub mod vm;

pub use output::Output;
pub use sandbox::Sandbox;

use std::path::PathBuf;

/// Returns the path of `relative` below the root of the source tree, `tests/vectors/erofs` say.
#[must_use]
pub fn project(relative: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize().unwrap().join(relative)
}

/// Checks that `main.rs` in a directory of the source tree declares every other file there as a module.
///
/// # Panics
/// When it does not.
pub fn no_module_is_forgotten(directory: &str) {
    let here = project(directory);
    let text = std::fs::read_to_string(here.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(here).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|extension| extension == "rs") && name != "main" {
            assert!(text.contains(&format!("\nmod {name};\n")), "main.rs lacks `mod {name};`");
        }
    }
}

/// Returns an error and its causes in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
