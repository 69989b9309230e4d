//! SHA-2 where the shape of the work is known: two digests of the same bytes, many messages of one length.
//!
//! | what | where it is used | how |
//! | --- | --- | --- |
//! | [`Sha256::update_with`] | a tar's digest and the fs-verity leaf of the member at hand | one message schedule, two states |
//! | [`many::sha256`] | leaves away from a tar | two messages side by side |
//! | [`many::sha512`] | leaves, the default algorithm | four or eight messages, a lane of a vector each |
//!
//! A processor with SHA-NI waits for the rounds of one state; those of a second one fit into the gaps. SHA-512 has no
//! such instructions on most processors, and one message leaves a vector unit idle.
//!
//! Which instructions there are is asked at run time. Where there are none, and in the tests as the oracle, `sha2` does
//! the work, which has assembly of its own for other processors.
//!
//! Unsafe code calls functions that were compiled for instructions which have just been found, and does nothing else.

mod processor;
pub mod sha256;
pub mod many;

pub use processor::{force_portable, name};
pub use sha256::Sha256;
