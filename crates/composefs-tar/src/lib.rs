//! Tar archives as pushed bytes.
#![forbid(unsafe_code)]
