//! The calls against a kernel that has them: the virtual machine, where the test `vm_calls` runs this same program
//! again, and partly the host.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use composefs_linux::{
    loop_device,
    verity::{self, Measured, MetadataKind},
};
use composefs_testkit::{skip_or_fail, vm::Machine};
use rustix::io::Errno;

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Errno {
    Errno::from_io_error(&result.unwrap_err()).unwrap()
}

fn temporary(contents: &[u8]) -> (tempfile::TempDir, File) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, contents).unwrap();
    (directory, File::open(path).unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[ignore = "needs fs-verity; vm_calls runs it"]
fn guest_verity_is_enabled_measured_and_read() {
    // Digests from docs/formats/fsverity.md, section 5.
    for (algorithm, digest) in [
        (1, "1e2eaa4202d750a41174ee454970b92c1bc2f925b1e35076d8c7d5f56362ba64"),
        (
            2,
            "18430270729d162d4e469daca123ae61893db4b0583d8f7081e3bf4f92b88ba514e7982f10733fb6aa895195c5ae8fd2eb2c47a8be05513ce5a0c51a6f570409",
        ),
    ] {
        let (directory, file) = temporary(b"hello world");
        assert_eq!(errno(verity::measure(&file)), Errno::NODATA);

        let writer = File::options().write(true).open(directory.path().join("file")).unwrap();
        assert_eq!(errno(verity::enable(&file, algorithm, 4096, None)), Errno::TXTBSY);
        drop(writer);
        assert_eq!(errno(verity::enable(&file, algorithm, 4095, None)), Errno::INVAL);
        assert_eq!(errno(verity::enable(&file, 77, 4096, None)), Errno::INVAL);
        // The signature arrived: the kernel looks for a key, and its keyring is empty.
        assert_eq!(errno(verity::enable(&file, algorithm, 4096, Some(b"no PKCS#7"))), Errno::NOKEY);
        verity::enable(&file, algorithm, 4096, None).unwrap();
        assert_eq!(errno(verity::enable(&file, algorithm, 4096, None)), Errno::EXIST);

        let measured = verity::measure(&file).unwrap();
        assert_eq!(u32::from(measured.algorithm), algorithm);
        assert_eq!(hex(&measured.digest), digest);

        let mut descriptor = [0xff; 300];
        assert_eq!(verity::read_metadata(&file, MetadataKind::Descriptor, 0, &mut descriptor).unwrap(), 256);
        assert_eq!(descriptor[..16], [1, algorithm as u8, 12, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(descriptor[256..], [0xff; 44]);
        assert_eq!(verity::read_metadata(&file, MetadataKind::Descriptor, 256, &mut descriptor).unwrap(), 0);
        assert_eq!(
            errno(verity::read_metadata(&file, MetadataKind::Signature, 0, &mut descriptor)),
            Errno::NODATA
        );
    }
}

#[test]
#[ignore = "needs fs-verity; vm_calls runs it"]
fn guest_a_merkle_tree_is_read_in_parts() {
    let (_directory, file) = temporary(&vec![7; 4096 * 3]);
    verity::enable(&file, 1, 4096, None).unwrap();
    let mut whole = [0; 8192];
    assert_eq!(verity::read_metadata(&file, MetadataKind::MerkleTree, 0, &mut whole).unwrap(), 4096);
    // Three equal blocks have three equal hashes.
    assert_eq!((&whole[..32], &whole[32..64]), (&whole[32..64], &whole[64..96]));
    let mut part = [0; 32];
    assert_eq!(verity::read_metadata(&file, MetadataKind::MerkleTree, 64, &mut part).unwrap(), 32);
    assert_eq!(part, whole[64..96]);
}

#[test]
fn files_without_verity_say_which_it_is() {
    let (_directory, file) = temporary(b"hello world");
    let known = [Errno::NODATA, Errno::NOTTY, Errno::OPNOTSUPP];
    match verity::measure(&file) {
        Ok(Measured { .. }) => panic!("measured what was never enabled"),
        Err(error) => assert!(known.contains(&Errno::from_io_error(&error).unwrap()), "{error}"),
    }
}

#[test]
fn a_loop_device_shows_the_file_and_takes_no_writes() {
    if !rustix::process::geteuid().is_root() {
        skip_or_fail!("needs root");
    }
    if !Path::new("/dev/loop-control").exists() {
        skip_or_fail!("needs loop devices");
    }
    let contents = b"sixteen letters ".repeat(512);
    let (_directory, file) = temporary(&contents);
    let device = loop_device::attach(&file).unwrap();
    let mut read = Vec::new();
    File::from(device.fd.try_clone().unwrap()).read_to_end(&mut read).unwrap();
    assert!(read == contents);
    assert_eq!(errno(loop_device::configure(&device.fd, &file)), Errno::BUSY);
    let sys = Path::new("/sys/block").join(device.path.file_name().unwrap());
    assert_eq!(fs::read_to_string(sys.join("ro")).unwrap(), "1\n");
    assert_eq!(fs::read_to_string(sys.join("loop/autoclear")).unwrap(), "1\n");
    assert_eq!(fs::read_to_string(sys.join("loop/dio")).unwrap(), "0\n");
}

#[test]
fn many_at_once_get_devices_of_their_own() {
    if !rustix::process::geteuid().is_root() {
        skip_or_fail!("needs root");
    }
    if !Path::new("/dev/loop-control").exists() {
        skip_or_fail!("needs loop devices");
    }
    let threads: Vec<_> = (0..8_u8)
        .map(|number| {
            std::thread::spawn(move || {
                let (_directory, file) = temporary(&[number; 4096]);
                let device = loop_device::attach(&file).unwrap();
                let mut read = [0xff; 4096];
                File::from(device.fd).read_exact(&mut read).unwrap();
                assert_eq!(read, [number; 4096]);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn vm_calls() {
    let Some(machine) = Machine::or_skip() else { return };
    let program = std::env::current_exe().unwrap();
    let name = program.file_name().unwrap().to_str().unwrap();
    let output = machine
        .program(&program)
        .script(&format!(
            "mkdir /scratch/tmp\nexport TMPDIR=/scratch/tmp COMPOSEFS_TEST_REQUIRE=1 RUST_BACKTRACE=0\n\
             {name} --include-ignored --skip vm_calls"
        ))
        .run();
    assert!(output.success().text().contains("test guest_verity_is_enabled_measured_and_read ... ok"));
}
