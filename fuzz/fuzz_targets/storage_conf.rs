//! `storage.conf`: no input panics, and what is given out is what there was, with variables put in.
#![allow(unreachable_pub)]

use composefs_oci::{environment::Environment, transport::containers_storage::config::StoreConfig};

/// Runs one input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for uid in [0, 1000] {
        let environment = Environment::default().root("/system").variable("HOME", "/home/ann").uid(uid);
        match StoreConfig::parse(text, &environment) {
            Ok(config) => {
                assert!(!config.graph_root.as_os_str().is_empty());
                assert!(config.driver.is_none_or(|driver| !driver.is_empty()));
                assert!(config.additional.iter().all(|store| !store.as_os_str().is_empty()));
            }
            Err(error) => drop(error.to_string()),
        }
    }
}
