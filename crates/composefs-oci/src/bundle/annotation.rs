//! What a runtime is told about the image beside how to run it.
//!
//! # Format
//! The image specification's `conversion.md`, "Annotation Fields".

use std::collections::BTreeMap;

use crate::model::Config;

/// The annotations that follow from a config; a label of the same name is stronger.
pub(super) fn of(config: &Config) -> BTreeMap<String, String> {
    let parsed = config.parsed();
    let mut found = BTreeMap::new();
    let mut implied = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            found.insert(format!("org.opencontainers.image.{key}"), value);
        }
    };
    implied("os", Some(parsed.os().to_string()));
    implied("architecture", Some(parsed.architecture().to_string()));
    implied("author", parsed.author().clone());
    implied("created", parsed.created().clone());
    if let Some(settings) = parsed.config() {
        implied("stopSignal", settings.stop_signal().clone());
        let mut ports = settings.exposed_ports().clone().unwrap_or_default();
        ports.sort_unstable();
        ports.dedup();
        implied("exposedPorts", Some(ports.join(",")));
        let labels = settings.labels().iter().flatten().filter(|(key, _)| !key.is_empty());
        found.extend(labels.map(|(key, value)| (key.clone(), value.clone())));
    }
    found
}
