//! Containers: a bundle over a mount, and a runtime that runs it.

mod bundle;
mod root;
mod runtime;
mod signals;

pub(crate) use bundle::{ROOTFS, place, remove, write};
pub(crate) use root::{Privileges, Root, plan, source};
pub(crate) use runtime::{Runtime, exit_status};
pub(crate) use signals::{Forwarding, forward};
