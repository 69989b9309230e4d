//! The program from outside: whole outputs, a file for each verb.
//!
//! A session's snapshot is the transcript of its runs. After a change: `INSTA_UPDATE=always cargo test -p cfsctl`, then
//! read the diff.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod lab;

mod cat;
mod completion;
mod compute_id;
mod create_dumpfile;
mod create_image;
mod du;
mod dump_files;
mod environment;
mod fsck;
mod gc;
mod global;
mod golden;
mod golden_0_3;
mod image_objects;
mod images;
mod import_image;
mod init;
mod interrupt;
mod man;
mod mount;
mod mount_fuse;
mod multicall;
mod oci_bundle;
mod oci_cat;
mod oci_compute_id;
mod oci_copy;
mod oci_copy_from;
mod oci_create_image;
mod oci_diff;
mod oci_dump;
mod oci_extract;
mod oci_fsck;
mod oci_history;
mod oci_images;
mod oci_import_layer;
mod oci_inspect;
mod oci_layer;
mod oci_linked_erofs_images;
mod oci_login;
mod oci_ls;
mod oci_load;
mod oci_ls_layer;
mod oci_mount;
mod oci_pull;
mod oci_pull_plan;
mod oci_push;
mod oci_rm;
mod oci_save;
mod oci_seal;
mod oci_sign;
mod oci_tag;
mod oci_verify;
mod old_repository;
mod peer;
mod peer_platforms;
mod pipes;
mod policy;
mod progress;
mod reference;
mod repair;
mod transaction;
mod vm;
mod vm_repair;
mod vm_run;

#[test]
fn no_file_is_forgotten() {
    composefs_testkit::no_module_is_forgotten("crates/cfsctl/tests/cli");
}
