//! Test support: sandboxed runs of cfsctl, odd tars, images, the machine with real fs-verity.
#![forbid(unsafe_code)]
