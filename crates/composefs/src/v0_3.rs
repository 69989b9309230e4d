//! The frozen surface of 0.3: its types and functions over the native ones, for programs written against it.
//!
//! Conversions only; new abilities go to the native modules. This alone knows the algorithm as a type
//! parameter, and this alone reads the environment, as 0.3 did. The old paths (`composefs::repository`, …) lead
//! here.
//!
//! # Format
//! `docs/formats/oci.md`, section 8, which lists what is promised.

pub mod util;
pub mod fsverity;
pub mod splitstream;
pub mod tree;
pub mod dumpfile;
pub mod repository;
#[cfg(any(test, feature = "test"))]
pub mod test;
