//! Images in a registry.

pub mod hosts;
pub mod tls;
pub mod proxies;
