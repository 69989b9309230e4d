//! The virtual machine itself: what the privileged tests of other crates stand on.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use composefs_testkit::vm::Machine;

#[test]
fn vm_has_fs_verity_and_reports_what_a_script_did() {
    let Some(machine) = Machine::or_skip() else { return };
    let Some(fsverity) = composefs_testkit::peers::program_or_skip("fsverity") else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("note"), "brought along\n").unwrap();
    let script = "cat /data/note; cp /data/note /scratch/f; fsverity enable /scratch/f; fsverity measure /scratch/f; exit 3";
    let output = machine.program(fsverity).file(dir.path(), "/data").script(script).run().exited(3);
    // The digest is that of the 14 bytes by definition, whoever computes it.
    assert_eq!(
        output.text(),
        "brought along\nsha256:b87031c76613145178f6db350ae72914b55298892b2b4bf41695a2015775efd3 /scratch/f\n"
    );
}
