//! composefs repositories.
#![forbid(unsafe_code)]
