//! May this image be used: what its seal says, whether that is so, and who says it.
//!
//! What comes in: an image of the repository, certificates, and the digest of a manifest that is trusted. What goes out:
//! the outcome of every step, and a record beside the image of what was established, which a mount can demand.
//!
//! # Format
//! `docs/formats/sealing.md`, section 6.

pub mod sources;
pub mod verify;
pub mod record;
#[cfg(feature = "signatures")]
mod signers;

pub use record::{Record, Settled, demand};
pub use verify::{Outcome, StepReport, Trust, Verification, VerifyOptions, verify, verify_manifest};
