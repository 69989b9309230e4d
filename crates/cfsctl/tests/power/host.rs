//! What the tests outside of the machine share: a machine with all that `guest` needs.

use std::path::Path;

use composefs_testkit::{peers, vm::Machine};

use crate::steps;

/// How much is tried: `few` in CI, else what `COMPOSEFS_TEST_POWER` says, `all` or a number.
///
/// # Panics
/// When it says something else.
pub(crate) fn amount(few: usize, all: usize) -> usize {
    match std::env::var("COMPOSEFS_TEST_POWER").as_deref() {
        Err(_) => few,
        Ok("all") => all,
        Ok(number) => number.parse::<usize>().unwrap().min(all),
    }
}

/// Describes a machine with cfsctl, this program and the images, which are put into `dir`; or skips the calling test.
pub(crate) fn machine_or_skip(dir: &Path) -> Option<Machine> {
    let machine = Machine::or_skip()?;
    let layout = dir.join("layout");
    if !layout.exists() {
        steps::images(&layout);
    }
    let guest = dir.join("power");
    std::fs::copy(std::env::current_exe().unwrap(), &guest).unwrap();
    Some(machine.program(env!("CARGO_BIN_EXE_cfsctl")).program(guest).file(layout, steps::LAYOUT))
}

/// Finds the program that makes such file systems, or skips the calling test.
pub(crate) fn mkfs_or_skip(kind: &str) -> Option<std::path::PathBuf> {
    peers::program_or_skip(&format!("mkfs.{kind}"))
}
