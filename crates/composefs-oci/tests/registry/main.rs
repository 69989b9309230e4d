//! Images out of registries: one that misbehaves on request, and Debian's; one binary.
#![cfg(feature = "registry")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod lab;

mod check_login;
mod collections;
mod debian;
mod documents;
mod downloads;
mod faults;
mod foreign;
mod lists;
mod logins;
mod mirrors;
mod platforms;
mod proxies;
mod redirects;
mod splits;
mod strangers;
