//! A pull that lasts: what has come by then gets its names early, with a barrier of its own.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use composefs_testkit::registry::{Fault, Registry, RegistryOptions, Rule};

use crate::steps::{LAYOUT, command, manifest_of};

/// How long the registry waits in the middle of a layer: longer than a pull does before it names what it has.
const WAIT: Duration = Duration::from_secs(7);

/// Whether the registry waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// In the middle of the largest layer.
    Waits,
    /// Nowhere.
    Ready,
}

/// Pulls the image `three` from a registry, beside a layer of which another has come long before.
///
/// # Panics
/// When nothing was named early though the registry waited.
pub(crate) fn pull(repo: &Path, medium: Medium) -> Output {
    let _ = Command::new("ifconfig").args(["lo", "127.0.0.1", "up"]).status();
    let registry = Registry::start(RegistryOptions::default());
    registry.add_layout("images", Path::new(LAYOUT));
    if medium == Medium::Waits {
        let manifest = manifest_of("three");
        let layers = manifest["layers"].as_array().unwrap();
        let largest = layers.iter().max_by_key(|layer| layer["size"].as_u64()).unwrap();
        let stall = Fault::Stall(100_000, Some(WAIT));
        registry.inject(Rule::new(largest["digest"].as_str().unwrap(), stall));
    }
    let reference = registry.reference("images:three");
    let mut pull = command(repo, &["oci", "pull", "--tls-verify=false", &reference, "three"]);
    let mut child = pull.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut early = false;
    while child.try_wait().unwrap().is_none() {
        let named = std::fs::read_dir(repo.join("streams/refs/x-pulls"));
        early |= named.is_ok_and(|mut names| names.next().is_some());
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert!(early || medium == Medium::Ready, "nothing was named early: {output:?}");
    output
}
