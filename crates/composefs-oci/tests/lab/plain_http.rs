//! How registries in this process are got at.

use std::time::Duration;

use composefs_oci::transport::registry::{RegistryOptions, retry::RetryOptions};

/// Tries again at once, and takes plain HTTP.
pub(crate) fn options() -> RegistryOptions {
    let moment = Duration::from_millis(1);
    RegistryOptions::default()
        .retries(RetryOptions::default().pauses(moment, moment).longest_asked(moment))
        .tls_verify(Some(false))
}
