//! Pulls of made-up images, right and wrong ones; one binary.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod lab;

mod archives;
mod bootable;
mod collections;
mod damage;
mod directories;
mod docker;
mod fsck;
mod hostile;
mod layers;
mod limits;
mod names;
mod plan;
mod platforms;
mod recovery;
mod referrers;
mod sealing;
mod selection;
mod skopeo;
mod stopping;
