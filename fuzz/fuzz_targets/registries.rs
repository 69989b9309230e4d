//! `registries.conf` and the user's aliases: no input panics, what they turn names into are names.
#![allow(unreachable_pub)]

use composefs_oci::{
    reference::RegistryReference,
    transport::registry::hosts::{HostsError, RegistriesConf},
};

/// Names that real settings are about, and odd ones.
const NAMES: &[&str] = &[
    "debian",
    "quay.io/a/b:c",
    "x.y/z",
    "a.b.example.com:5000/n/m@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "localhost:5000/x:1",
    "[::1]:5000/x",
];

/// Runs one input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(conf) = RegistriesConf::parse(text) else { return };
    for name in NAMES {
        let Ok(reference) = name.parse::<RegistryReference>() else { unreachable!("{name} is a name") };
        match conf.endpoints(&reference) {
            Ok(endpoints) => {
                assert!(endpoints.last().is_some_and(|last| !last.mirror), "the registry itself comes last");
                for endpoint in endpoints {
                    let text = endpoint.reference.to_string();
                    let again = text.parse::<RegistryReference>().map(|parsed| parsed.to_string());
                    assert_eq!(again, Ok(text));
                    assert_eq!(endpoint.reference.wanted(), reference.wanted());
                    assert!(!endpoint.api_host().is_empty());
                }
            }
            Err(HostsError::Blocked { .. } | HostsError::Rewrite { .. }) => {}
            Err(error) => unreachable!("{error}"),
        }
    }
    for name in ["debian:12", "team/tool", "x"] {
        let Ok(name) = name.parse() else { unreachable!("{name} is short") };
        match conf.resolve_short(&name) {
            Ok(candidates) => assert!(!candidates.is_empty()),
            Err(error) => drop((error.to_string(), error.hint())),
        }
    }
}
