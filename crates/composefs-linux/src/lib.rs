//! Safe wrappers of the Linux calls a composefs repository needs and rustix lacks.
//!
//! | module | calls | why rustix has none |
//! | --- | --- | --- |
//! | [`verity`] | `FS_IOC_ENABLE_VERITY`, `FS_IOC_MEASURE_VERITY`, `FS_IOC_READ_VERITY_METADATA` | ioctls of file systems; it wraps few |
//! | [`loop_device`] | `LOOP_CTL_GET_FREE`, `LOOP_CONFIGURE` | ioctls of a driver |
//! | [`record_lock`] | `F_OFD_SETLK`, `F_OFD_SETLKW` | it has the older locks, which belong to a process |
//! | [`mount_attr`] | `mount_setattr` with `MOUNT_ATTR_IDMAP` | not wrapped yet |
//! | [`user_namespace`] | `unshare`, `setns`, `setgroups` | it leaves what changes a whole process to others |
//!
//! All unsafe code of the workspace is in this crate: each call is a documented safe function over one
//! unsafe expression, whose argument structs have their layout asserted at compile time.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod verity;
pub mod loop_device;
pub mod record_lock;
pub mod mount_attr;
pub mod user_namespace;
