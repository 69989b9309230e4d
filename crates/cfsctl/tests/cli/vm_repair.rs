//! Damage and its mending where fs-verity is real: bit rot, which only the kernel knows of, and fs-verity missing.
//!
//! The file system is in a file in the machine's memory, so that bytes beneath it can be changed, and damage be had again.

use composefs_testkit::{peers, sample, vm::Machine};
use insta::assert_snapshot;

use crate::lab::CFSCTL;

const SCRIPT: &str = r###"
export RUST_BACKTRACE=0 LC_ALL=C
c() { cfsctl --repo /mnt/fs/repo --progress none --jobs 1 "$@"; }
say() { echo "## $*"; }
use() { losetup /dev/loop0 /tmp/fs; mount -t ext4 -o noatime /dev/loop0 /mnt/fs; }
leave() { umount /mnt/fs; losetup -d /dev/loop0; }
keep() { leave; cp /tmp/fs $1; use; }
again() { leave; cp $1 /tmp/fs; use; }
contents() {
  cd /mnt/fs/repo
  find objects -type f ! -name '.tmp-*' | sort | xargs stat -c '%n %s %a'
  find images streams -type l | sort | while read -r link; do echo "$link $(readlink $link)"; done
  cd /root
}
# rot FILE BLOCK OFFSET: changes bytes of one of the file's blocks on the disk; those of its fs-verity come last.
rot() {
  leave
  block=$(debugfs -R "blocks /repo/$1" /tmp/fs 2>/dev/null | tr ' ' '\n' | grep . | sed -n "$2p")
  printf 'ROT!' | dd of=/tmp/fs bs=1 seek=$((block * 4096 + $3)) conv=notrunc 2>/dev/null
  use
}
# bare FILE...: the same without fs-verity.
bare() { for file; do cp $file $file.bare; mv $file.bare $file; done; }
# killed START POINTS COMMAND...: from START again and again, killed each time elsewhere; then `look`, and undisturbed.
killed() {
  start=$1 points=$2 hits=0; shift 2
  for point in $points; do
    again $start
    status=0
    strace -f -o /dev/null -e trace=${point%:*} -e inject=${point%:*}:signal=KILL:when=${point#*:} \
      cfsctl --repo /mnt/fs/repo --progress none --jobs 1 "$@" >/tmp/out 2>&1 || status=$?
    case $status in 137) hits=$((hits + 1)) ;; *) echo "$point: $status"; cat /tmp/out ;; esac
    look >/tmp/out 2>&1 || { echo "after $point:"; cat /tmp/out; }
    c "$@" >/tmp/out 2>&1 || { echo "again, after $point:"; cat /tmp/out; }
    c fsck --deep >/tmp/out 2>&1 || { echo "fsck, after $point:"; cat /tmp/out; }
    contents >/tmp/now
    cmp /tmp/want /tmp/now || { echo "other contents, after $point:"; diff /tmp/want /tmp/now; }
  done
  echo "killed and repeated: $hits"
}
mkdir -p /mnt/fs /mnt/a
truncate -s 24M /tmp/fs
mkfs.ext4 -q -b 4096 -O verity /tmp/fs
use

say a repository with fs-verity
c init --algorithm fsverity-sha256-12 >/dev/null
c oci pull oci:/sample sample >/dev/null
sync
image=$(c oci compute-id sample)
file() { echo objects/$(c dump-files --backing-path-only $image $1 | sed 's/.* //'); }
numbers=$(file /usr/share/numbers) news=$(file /usr/share/news) hello=$(file /usr/bin/hello)
lower=$(ls /mnt/fs/repo/streams | while read -r name; do
  readlink /mnt/fs/repo/streams/$name | sed "s,^\.\./,$name ,"; done | sed -n 's/^oci-layer-[^ ]* //p' | head -n 1)
image=objects/$(echo $image | sed 's/^../&\//')
contents >/tmp/want
keep /tmp/good

say bit rot in a file: in its contents, and in what fs-verity has of another
rot $numbers 2 100
rot $news 2 120
c oci mount sample /mnt/a
cat /mnt/a/etc/hostname /mnt/a/usr/bin/hello
! cat /mnt/a/usr/share/numbers >/tmp/out 2>/tmp/err
sed 's/.*numbers: //' /tmp/err
! cat /mnt/a/usr/share/news 2>/tmp/err
sed 's/.*news: //' /tmp/err
c umount /mnt/a
say a check that reads all names both, another what cannot be opened
c fsck 2>/tmp/err || true
c fsck --deep || true
c repair --deep --dry-run
say nobody has it: it stays
! c repair --deep --no-recorded
c repair --deep 2>/tmp/err
c fsck --deep
c oci mount sample /mnt/a
cat /mnt/a/usr/share/news
sha256sum </mnt/a/usr/share/numbers
c umount /mnt/a
contents | cmp /tmp/want -

say bit rot in the image, in a layer, and in the hashes of a large file
again /tmp/good
rot $image 1 100
rot $lower 1 10
rot $numbers 5 7
keep /tmp/rotten
! c oci mount sample /mnt/a 2>/dev/null
c fsck --deep || true
c repair --deep 2>/tmp/err
c fsck --deep
c oci fsck --deep
c oci mount sample /mnt/a
sha256sum </mnt/a/usr/share/numbers
c umount /mnt/a
contents | cmp /tmp/want -

say killed while it mends
look() { ! c fsck --deep >/tmp/look 2>&1 || grep -q '^status: ok' /tmp/look; }
killed /tmp/rotten 'renameat:1 syncfs:1 syncfs:2' repair --deep

say bit rot in what nothing needs is removed
again /tmp/good
c oci untag sample >/dev/null
rot $numbers 1 0
c repair --deep 2>/tmp/err
[ ! -e /mnt/fs/repo/$numbers ]
c fsck --deep

say objects without fs-verity get it where they are
again /tmp/good
bare /mnt/fs/repo/$numbers /mnt/fs/repo/$hello /mnt/fs/repo/$image
keep /tmp/bare
inodes=$(cd /mnt/fs/repo; stat -c %i objects/*/*)
c fsck || true
c repair --dry-run
c repair
[ "$inodes" = "$(cd /mnt/fs/repo; stat -c %i objects/*/*)" ]
for object in /mnt/fs/repo/objects/*/*; do ! ( : >>$object ) 2>/dev/null; done
c fsck --deep
look() { true; }
killed /tmp/bare 'ioctl:2' repair

say an insecure repository becomes one that demands it
again /tmp/good
bare /mnt/fs/repo/objects/*/* /mnt/fs/repo/meta.json
keep /tmp/insecure
! c --require-verity fsck
c fsck --deep
c repair --enable-verity
c --require-verity fsck --deep
c oci fsck --deep
c oci mount sample /mnt/a --verity require
cat /mnt/a/usr/share/version
sha256sum </mnt/a/usr/share/numbers
c umount /mnt/a
! ( : >>/mnt/fs/repo/meta.json ) 2>/dev/null
look() { c fsck --deep; }
killed /tmp/insecure 'ioctl:4 syncfs:1 syncfs:2' repair --enable-verity

say contents that are wrong do not get it
again /tmp/insecure
rot $hello 1 3
! c repair --enable-verity --no-recorded
c fsck || true
c repair --enable-verity 2>/tmp/err
c --require-verity fsck --deep
contents | cmp /tmp/want -
leave
"###;

#[test]
fn vm_repair_with_verity() {
    let Some(mut machine) = Machine::or_skip() else { return };
    for (program, place) in
        [("mkfs.ext4", "/bin/mkfs.ext4"), ("debugfs", "/bin/debugfs"), ("strace", "/bin/strace")]
    {
        let Some(found) = peers::program_or_skip(program) else { return };
        machine = machine.file(found, place);
    }
    let dir = tempfile::tempdir().unwrap();
    sample::write(dir.path());
    let output = machine.program(CFSCTL).file(dir.path(), "/sample").script(SCRIPT).run();
    assert_snapshot!(output.redact(|_| {}));
}
