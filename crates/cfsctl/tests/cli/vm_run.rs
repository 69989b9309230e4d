//! Programs in images, run by real runtimes as root.

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
export RUST_BACKTRACE=0 LC_ALL=C
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
"###;

#[test]
fn vm_run_as_root() {
    let Some(machine) = Machine::or_skip() else { return };
    let (Some(busybox), Some(crun), Some(runc)) =
        (peers::program_or_skip("busybox"), peers::program_or_skip("crun"), peers::program_or_skip("runc"))
    else {
        return;
    };
    let sandbox = Sandbox::new(CFSCTL);
    let mut layout = Layout::create(sandbox.path("layout"));
    layout.image("web", &image(&busybox));
    let output = machine
        .program(CFSCTL)
        .file(crun, "/bin/crun")
        .file(runc, "/bin/runc")
        .file(layout.path(), "/layout")
        .script(SCRIPT)
        .pivotable(&["/layout"])
        .run();
    assert_snapshot!(output.redact(|list| {
        list.pattern(r"cfsctl-[0-9A-Za-z]{12}", "[NAME]");
        list.pattern(r"(?m)^(/dev|devtmpfs|none) .*\n", "");
    }));
}
