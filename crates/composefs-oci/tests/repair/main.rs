//! Damage of every kind, and what mends it from what.
#![cfg(feature = "registry")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, clippy::indexing_slicing)]

mod lab;

mod matrix;
mod sources;
mod shapes;
mod stalled;
