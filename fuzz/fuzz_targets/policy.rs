//! `policy.json`: no input panics, and what a file says of an image depends on nothing but the file.
#![allow(unreachable_pub)]

use std::path::Path;

use composefs_oci::{
    policy::{Identity, PathTransport, Policy, PolicyError, Requirement},
    reference::RegistryReference,
};

/// Names that real files are about, and odd ones.
const NAMES: &[&str] = &[
    "debian",
    "quay.io/a/b:c",
    "reg.a.example.com:5000/n/m@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "localhost:5000/x:1",
    "[::1]:5000/x",
];

/// Runs one input.
pub fn run(data: &[u8]) {
    let Ok(policy) = Policy::parse(data) else { return };
    let mut identities = vec![
        Identity::docker_archive(Path::new("/a/b")),
        Identity::storage("overlay", Path::new("/var/lib/containers/storage"), None, Some("abc")),
    ];
    identities.extend(
        [PathTransport::Layout, PathTransport::OciArchive, PathTransport::Dir]
            .map(|transport| Identity::path(transport, Path::new("/srv/a"))),
    );
    for name in NAMES {
        let Ok(reference) = name.parse::<RegistryReference>() else { unreachable!("{name} is a name") };
        identities.push(Identity::registry(&reference));
        identities.push(Identity::storage("vfs", Path::new("/s"), Some(&reference), None));
    }
    for identity in identities {
        let (_, requirements) = policy.requirements(&identity);
        assert!(!requirements.is_empty(), "no list is empty");
        let accepts = requirements.iter().all(|one| *one == Requirement::AcceptAnything);
        let rejects = requirements.contains(&Requirement::Reject);
        match policy.admit(&identity) {
            Ok(()) => assert!(accepts),
            Err(PolicyError::Rejected { .. }) => assert!(rejects),
            Err(error) => assert!(!accepts && !rejects, "{error}"),
        }
    }
}
