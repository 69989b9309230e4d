//! Programs in images, run by real runtimes, as root and as an ordinary user.

use std::path::Path;

use composefs_testkit::{
    Sandbox,
    images::{Compression, Image, Layer, Layout},
    peers,
    tars::{Meta, TarBuilder},
    vm::Machine,
};
use insta::assert_snapshot;
use serde_json::json;

use crate::lab::CFSCTL;

/// An image with a shell and the usual files.
pub(crate) fn image(busybox: &Path) -> Image {
    let tools = "sh cat id ls echo touch mount env sleep mkdir hostname pwd grep cut seq";
    let mut tar = TarBuilder::new()
        .dir("bin")
        .file_with("bin/busybox", std::fs::read(busybox).unwrap(), Meta::mode(0o755))
        .dir("etc")
        .file(
            "etc/os-release",
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nID=debian\n",
        )
        .file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n")
        .file("etc/group", "root:x:0:\nwww:x:34:\nlog:x:4:web\n")
        .dir("data")
        .file("data/first", "was there\n");
    for tool in tools.split(' ') {
        tar = tar.symlink(&format!("bin/{tool}"), "busybox");
    }
    Image::new([Layer::new(tar.finish(), Compression::Gzip)])
        .config("Cmd", json!(["sh", "-c", "cat /etc/os-release; id; exit 7"]))
        .config("Env", json!(["A=1"]))
        .config("WorkingDir", json!("/data"))
        .config("Volumes", json!({"/data": {}}))
}

const SCRIPT: &str = r###"
export RUST_BACKTRACE=0 LC_ALL=C NO_COLOR=1
c() { cfsctl --repo /scratch/repo --progress none "$@"; }
say() { echo "## $*"; }
try() { status=0; "$@" 2>&1 || status=$?; echo "exit status $status"; }
mount -t cgroup2 none /sys/fs/cgroup
echo '+memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
c init --algorithm fsverity-sha256-12
c oci pull oci:/layout:web web >/dev/null

for runtime in crun runc; do
  say by $runtime
  try c oci run --runtime $runtime web
done
say by the one that is found, with a user, variables, a directory
HERE=here try c oci run -u web -w / -e B=2 -e HERE --hostname inside web sh -c 'id; hostname; pwd; echo $A $B $HERE $HOME'
say nothing can be changed but volumes, and nobody is reached
try c oci run --read-only --net none web sh -c 'touch /x; touch /data/more; ls /data; ls /sys/class/net'
say changes are there while it runs
try c oci run web sh -c 'touch /bin/new; ls /bin/new; mount -t tmpfs none /data'
try c oci run web ls /bin/new
say input only if wished for
echo words | try c oci run -i web cat
echo words | try c oci run web cat
say directories of the host
mkdir /tmp/shared
try c oci run -v /tmp/shared:/made/here web touch /made/here/file
ls /tmp/shared
try c oci run -v /tmp/shared:/made/here:ro web touch /made/here/other
say a signal is for the program
cat >/tmp/wait.sh <<'EOF'
trap 'echo asked to end; exit 3' TERM
touch /made/here/ready
for n in $(seq 600); do sleep 0.1; done
EOF
cp /tmp/wait.sh /tmp/shared/wait.sh
(until [ -e /tmp/shared/ready ]; do sleep 0.1; done; kill -TERM $(pidof cfsctl)) &
try c oci run -v /tmp/shared:/made/here web sh /made/here/wait.sh
wait
say what cannot be
try c oci run -u nobody web
try c oci run -t web </dev/null
try c oci run none
say a collection while it runs leaves it whole
rm /tmp/shared/ready
cat >/tmp/shared/last.sh <<'EOF'
touch /made/here/ready
until [ -e /made/here/go ]; do sleep 0.1; done
cat /etc/os-release | grep ^ID
EOF
c oci run -v /tmp/shared:/made/here web sh /made/here/last.sh &
until [ -e /tmp/shared/ready ]; do sleep 0.1; done
c oci untag web
c gc >/dev/null
touch /tmp/shared/go
wait
c oci pull oci:/layout:web web >/dev/null
say a bundle for a runtime
c oci bundle web /tmp/bundle sh -c 'echo in a bundle'
ls /tmp/bundle
crun run --bundle /tmp/bundle name
c umount /tmp/bundle/rootfs
say nothing is left
! grep composefs /proc/mounts
ls /run | grep cfsctl || true
ls /scratch/repo/images/refs/x-mounts 2>/dev/null || true

say an ordinary user, with further ids
echo 'root:x:0:0::/root:/bin/sh' >/etc/passwd
echo 'ann:x:1000:1000::/home/ann:/bin/sh' >>/etc/passwd
echo 'ann:x:1000:' >/etc/group
echo 'ann:100000:65536' >/etc/subuid
cp /etc/subuid /etc/subgid
mkdir -p /home/ann /run/user/1000
chown 1000:1000 /home/ann /run/user/1000
chmod 755 / /bin /etc /usr /lib /lib64 /run
chmod 1777 /tmp
chmod 666 /dev/fuse
chmod u+s /bin/newuidmap /bin/newgidmap
cat >/tmp/ann.sh <<'EOF'
export RUST_BACKTRACE=0 LC_ALL=C NO_COLOR=1 HOME=/home/ann XDG_RUNTIME_DIR=/run/user/1000 PATH=/bin:/sbin
c() { cfsctl --progress none "$@"; }
say() { echo "## $*"; }
try() { status=0; "$@" 2>&1 || status=$?; echo "exit status $status"; }
if [ "$1" = first ]; then
  c init --insecure --algorithm fsverity-sha256-12 >/dev/null
  c oci pull oci:/layout:web web >/dev/null
  try c oci run web
  try c oci run -u web web sh -c 'id; touch /etc/new; ls -ld /etc; cat /data/first'
  try c oci run --read-only --net none web sh -c 'touch /x; touch /data/more; ls /data; ls /sys/class/net'
  try c oci run -v /home/ann:/home web touch /home/made
  ls -l /home/ann | grep -o 'ann .*ann'
  say a file that was changed in the store is not given away
  id=$(c oci compute-id web)
  object=$HOME/.var/lib/composefs/objects/$(c dump-files --backing-path-only $id /etc/os-release | sed 's/.* //')
  cp -p $object $object.good
  chmod u+w $object
  sed 's/Debian/Others/' $object.good >$object
  try c oci run web cat /etc/os-release
  mv $object.good $object
  try c oci run web grep ^ID /etc/os-release
else
  try c oci run web id
  try c oci run -u web web
fi
ls /run/user/1000 $HOME/.var/lib/composefs/images/refs/x-mounts
EOF
su ann -c 'sh /tmp/ann.sh first'
say an ordinary user with one id
echo >/etc/subuid
su ann -c 'sh /tmp/ann.sh'
! grep -E 'composefs|fuse\.' /proc/mounts
"###;

#[test]
fn vm_run_as_root_and_not() {
    let Some(machine) = Machine::or_skip() else { return };
    let mut machine = machine.program(CFSCTL);
    for name in ["crun", "runc", "newuidmap", "newgidmap"] {
        let Some(program) = peers::program_or_skip(name) else { return };
        machine = machine.file(program, &format!("/bin/{name}"));
    }
    let Some(busybox) = peers::program_or_skip("busybox") else { return };
    let sandbox = Sandbox::new(CFSCTL);
    let mut layout = Layout::create(sandbox.path("layout"));
    layout.image("web", &image(&busybox));
    let output = machine.file(layout.path(), "/layout").script(SCRIPT).pivotable(&["/layout"]).run();
    assert_snapshot!(output.redact(|list| {
        list.pattern(r"cfsctl-[0-9A-Za-z]{12}", "[NAME]");
        list.pattern(r"(?m)^(/dev|devtmpfs|none) .*\n", "");
    }));
}
