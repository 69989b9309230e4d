//! cfsctl as root on a file system with fs-verity: few runs with many checks, since each takes about 20 seconds.

use composefs_testkit::{sample, vm::Machine};
use insta::assert_snapshot;

use crate::lab::CFSCTL;

const VERIFIED: &str = r###"
export RUST_BACKTRACE=0 LC_ALL=C
c() { cfsctl --repo /scratch/repo --progress none "$@"; }
say() { echo "## $*"; }
mkdir -p /mnt/a /mnt/b /mnt/c /mnt/d /mnt/e

say a repository with fs-verity
c init --algorithm fsverity-sha256-12
c oci pull oci:/sample sample
c oci fsck
say mounted and read
c oci mount sample /mnt/a
cat /mnt/a/etc/hostname /mnt/a/usr/share/version /mnt/a/usr/bin/hello /mnt/a/usr/share/news
ls /mnt/a /mnt/a/etc /mnt/a/usr/bin
sha256sum </mnt/a/usr/share/numbers
stat -c '%h %a %u %g %Y' /mnt/a/usr/bin/hello
readlink /mnt/a/usr/bin/hi
! touch /mnt/a/new 2>/dev/null
say every object has fs-verity: none can be written to
for object in /scratch/repo/objects/*/*; do ! ( : >>$object ) 2>/dev/null; done

say sealed, mounted by the config
sealed=$(c oci seal sample --name sealed/sample | sed -n 's/^sha256 //p')
c oci mount $sealed /mnt/b
cat /mnt/b/usr/share/version

say writable with directories of ours
mkdir /scratch/up /scratch/work
c oci mount sample /mnt/c --upperdir /scratch/up --workdir /scratch/work --read-write
echo changed >/mnt/c/etc/hostname
cat /scratch/up/etc/hostname /mnt/a/etc/hostname
c umount /mnt/c

say a swapped object: an error, and its neighbours read
image=$(c oci compute-id sample)
object=/scratch/repo/objects/$(c dump-files --backing-path-only $image /usr/share/numbers | sed 's/.* //')
cp $object /scratch/good
rm $object
sed 's/number/NUMBER/' /scratch/good >$object
c oci mount sample /mnt/d
! cat /mnt/d/usr/share/numbers >/tmp/out 2>/tmp/err
sed 's/.*numbers: //' /tmp/err
cat /mnt/d/usr/share/news /mnt/d/etc/hostname
c umount /mnt/d
status=0; c fsck >/tmp/out 2>/tmp/err || status=$?
echo "fsck: $status"
sed "s,$object,[OBJECT]," /tmp/out
rm $object

say what is missing is stored anew by a pull
c oci pull oci:/sample sample >/dev/null 2>/tmp/err || cat /tmp/err
c fsck || true

say what is mounted is not garbage
c oci untag sample
c gc
cat /mnt/a/usr/share/news
c umount /mnt/a
c umount /mnt/b
rm /scratch/repo/streams/refs/sealed/sample
c gc
c gc
c fsck

say a repository without fs-verity
i() { cfsctl --repo /scratch/insecure --progress none "$@"; }
i init --insecure --algorithm fsverity-sha256-12
i oci pull oci:/sample sample >/dev/null
i oci mount sample /mnt/e
cat /mnt/e/usr/share/version
sha256sum </mnt/e/usr/share/numbers
i umount /mnt/e
status=0; i oci mount sample /mnt/e --verity require 2>/tmp/err || status=$?
echo "required where there is none: $status"
cat /tmp/err
i create-image /sample some >/dev/null
i mount some /mnt/e
cat /mnt/e/oci-layout
i umount /mnt/e

say made by the way: with fs-verity, since it is there
cfsctl --repo /scratch/new --hash sha256 --progress none oci pull oci:/sample sample >/dev/null 2>/tmp/err
cat /tmp/err

say the C name of the mount helper
mkcomposefs --digest-store=/scratch/store /sample /scratch/sample.img
mount.composefs -o basedir=/scratch/store /scratch/sample.img /mnt/e
cat /mnt/e/oci-layout
umount /mnt/e
! grep -q composefs /proc/mounts
"###;

#[test]
fn vm_repositories_with_and_without_verity() {
    let Some(machine) = Machine::or_skip() else { return };
    let dir = tempfile_dir();
    sample::write(&dir.join("sample"));
    // The program under its other names, as distributions install it.
    let script = format!("ln -s cfsctl /bin/mkcomposefs; ln -s cfsctl /bin/mount.composefs\n{VERIFIED}");
    let output = machine.program(CFSCTL).file(dir.join("sample"), "/sample").script(&script).run();
    std::fs::remove_dir_all(dir).unwrap();
    assert_snapshot!(output.redact(|list| {
        list.pattern(r"(?m)^(/dev|devtmpfs|none) .*\n", "");
    }));
}

fn tempfile_dir() -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!(
        "cfsctl-vm-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
