//! A repository against a simple model: random lists of pulls, tags, seals, mounts, collections, crashes and damage.
//!
//! After every step the repository's names are the model's and nothing is lost; after every list all contents are
//! compared, and what is there is what the names need. Lists are plain values of [`step::Step`], shrunk to the shortest
//! that fails, and printed so that they can be pasted into `regressions`. They are not made by the state machines of
//! `proptest-state-machine`: what a crash leaves is one of two states, and only a look at the repository tells which.
//!
//! `COMPOSEFS_TEST_MODEL=N` runs N lists instead of the few that everybody runs. `regressions.txt` keeps the seeds of
//! lists that failed.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod family;
mod step;
mod expected;
mod listing;
mod reach;
mod unreliable;
mod world;

mod contents;
mod damage;
mod killed;
mod random;
mod regressions;
