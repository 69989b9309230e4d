//! FUSE mounts: in the background, in the foreground, as a user; and every way they end.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use composefs_testkit::{peers, users};

use crate::lab::{CFSCTL, Session};

/// A sandbox with a mountpoint; nothing is mounted there in the end.
struct Scene {
    session: Session,
    mountpoint: PathBuf,
}

impl Scene {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() || fs::File::open("/dev/fuse").is_err() {
            composefs_testkit::require::skip("needs root and /dev/fuse to mount");
            return None;
        }
        let session = Session::with_sample();
        let mountpoint = session.sandbox.path("mnt");
        fs::create_dir(&mountpoint).unwrap();
        Some(Self { session, mountpoint })
    }

    fn mount(&self) {
        let _ = self.session.run(["oci", "mount", "sample", "mnt", "--fuse=yes"]).success();
        assert_eq!(fs::read_to_string(self.mountpoint.join("usr/bin/hello")).unwrap().lines().count(), 3);
    }

    fn records(&self) -> usize {
        fs::read_dir(self.session.sandbox.repo().join("images/refs/x-mounts")).map_or(0, Iterator::count)
    }

    /// The process that serves: the one that was told so and has this mountpoint in its environment or arguments.
    fn server(&self) -> rustix::process::Pid {
        let home = format!("HOME={}\0", self.session.sandbox.path("home").display());
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        let found = processes.filter(|process| {
            fs::read(process.join("environ")).is_ok_and(|environment| {
                let text = String::from_utf8_lossy(&environment).into_owned() + "\0";
                text.contains("CFS_FUSE_SERVER=1\0") && text.contains(&home)
            })
        });
        let numbers: Vec<i32> =
            found.map(|process| process.file_name().unwrap().to_str().unwrap().parse().unwrap()).collect();
        assert_eq!(numbers.len(), 1, "{numbers:?}");
        rustix::process::Pid::from_raw(numbers[0]).unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.mountpoint, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Waits until something is so, a generous while.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_mounted(at: &Path) -> bool {
    fs::read_to_string("/proc/self/mounts").unwrap().contains(&format!(" {} fuse", at.display()))
}

#[test]
fn a_server_lives_as_long_as_its_mount() {
    let Some(scene) = Scene::new() else { return };
    scene.mount();
    assert_eq!(scene.records(), 1);
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = table.lines().find(|line| line.contains(&*scene.mountpoint.to_string_lossy())).unwrap();
    assert!(line.starts_with("composefs:sample "), "{line}");
    // A collection is not held up, and the image stays.
    let _ = scene.session.run(["oci", "untag", "sample"]).success();
    let _ = scene.session.run(["gc"]).success();
    let process = scene.server();
    assert!(fs::read_to_string(scene.mountpoint.join("etc/hostname")).is_ok());
    let _ = scene.session.run(["umount", "mnt"]).success();
    assert_eq!(scene.records(), 0);
    until("the server ends", || rustix::process::test_kill_process(process).is_err());
}

#[test]
fn a_signal_unmounts() {
    let Some(scene) = Scene::new() else { return };
    scene.mount();
    let process = scene.server();
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    until("the server ends", || rustix::process::test_kill_process(process).is_err());
    assert!(!is_mounted(&scene.mountpoint));
    assert_eq!(scene.records(), 0);
}

#[test]
fn a_server_that_was_killed_leaves_what_umount_takes_away() {
    let Some(scene) = Scene::new() else { return };
    scene.mount();
    let process = scene.server();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    until("the server is gone", || rustix::process::test_kill_process(process).is_err());
    assert!(is_mounted(&scene.mountpoint));
    assert!(fs::read_dir(&scene.mountpoint).is_err(), "nobody answers");
    let _ = scene.session.run(["umount", "mnt"]).success();
    assert!(!is_mounted(&scene.mountpoint));
    assert_eq!(scene.records(), 0);
    scene.mount();
    let _ = scene.session.run(["umount", "mnt"]).success();
}

#[test]
fn a_server_in_the_foreground_stays_there() {
    let Some(scene) = Scene::new() else { return };
    let mut server = Command::new(CFSCTL)
        .arg("--repo")
        .arg(scene.session.sandbox.repo())
        .args(["oci", "mount", "sample", "--fuse=yes", "--foreground"])
        .arg(&scene.mountpoint)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("it is mounted", || is_mounted(&scene.mountpoint));
    // What cannot be given away is said there.
    let objects = scene.session.sandbox.repo().join("objects");
    for directory in fs::read_dir(&objects).unwrap() {
        for object in fs::read_dir(directory.unwrap().path()).unwrap() {
            let object = object.unwrap().path();
            let bytes = fs::read(&object).unwrap();
            fs::remove_file(&object).unwrap();
            fs::write(&object, bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()).unwrap();
        }
    }
    assert!(fs::read(scene.mountpoint.join("usr/share/numbers")).is_err());
    assert!(fs::read(scene.mountpoint.join("etc/hostname")).is_ok(), "that is in the image");
    // Any unmounting ends it.
    rustix::mount::unmount(&scene.mountpoint, rustix::mount::UnmountFlags::empty()).unwrap();
    assert!(server.wait().unwrap().success());
    let mut said = String::new();
    server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("object cannot be given away object="), "{said}");
    assert_eq!(scene.records(), 0);
}

/// What a user does, with `c` for cfsctl on a repository of their own.
const AS_USER: &str = r#"
set -e
c() { ./cfsctl --repo repo --progress none "$@"; }
c init --insecure --algorithm fsverity-sha256-12 >/dev/null
c oci pull oci:sample sample >/dev/null
mkdir mnt
c oci mount sample mnt
grep -q "$PWD/mnt fuse.composefs ro,nosuid,nodev," /proc/self/mounts
sha256sum <mnt/usr/share/numbers >numbers
cat mnt/etc/hostname
if touch mnt/new 2>/dev/null; then exit 1; fi
test "$(ls repo/images/refs/x-mounts | wc -l)" = 1
c umount mnt
# The server takes its note away when it sees that its mount is gone.
n=0
until test "$(ls repo/images/refs/x-mounts | wc -l)" = 0; do
  n=$((n + 1))
  if test $n = 300; then echo "the note stays"; exit 1; fi
  sleep 0.1
done
if grep "$PWD/mnt " /proc/self/mounts; then echo "the mount stays"; exit 1; fi
c oci mount sample mnt --idmap 0:1000:10
test "$(stat -c %u mnt/usr/bin/hello)" = 1000
fusermount3 -u mnt
echo done
"#;

#[test]
fn users_need_no_more_than_fuse() {
    if peers::program_or_skip("fusermount3").is_none() {
        return;
    }
    let room = users::Room::new();
    let work = room.work();
    fs::copy(CFSCTL, work.join("cfsctl")).unwrap();
    composefs_testkit::sample::write(&work.join("sample"));
    let Some(mut command) = room.program_or_skip(false, Path::new("sh")) else { return };
    let policy = work.join(".config/containers/policy.json");
    fs::create_dir_all(policy.parent().unwrap()).unwrap();
    fs::write(policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
    let run = command.current_dir(work).env("HOME", work).args(["-c", AS_USER]).output().unwrap();
    let (said, failed) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && said.ends_with("done\n"), "{said}{failed}");
}

#[test]
fn what_fuse_cannot_do_is_refused() {
    let mut session = Session::with_sample();
    fs::create_dir(session.sandbox.path("mnt")).unwrap();
    session.see(["oci", "mount", "sample", "mnt", "--fuse=yes", "--read-write"]);
    session.see(["oci", "mount", "sample", "mnt", "--fuse=yes", "--upperdir", "up", "--workdir", "work"]);
    session.see(["oci", "mount", "sample", "mnt", "--upper-size", "1M"]);
    session.see(["oci", "mount", "sample", "mnt", "--read-write", "--upper-size", "1X"]);
    session.see(["oci", "mount", "sample", "mnt", "--idmap", "0:1"]);
    session.see(["oci", "mount", "sample", "mnt", "--idmap", "0:1:0"]);
    session.see(["oci", "mount", "sample", "mnt", "--idmap", "0:1:5", "--idmap", "4:9:1"]);
    insta::assert_snapshot!(session.text());
}

#[test]
fn a_server_that_cannot_begin_says_why() {
    let Some(scene) = Scene::new() else { return };
    let missing = scene.session.run(["oci", "mount", "sample", "none", "--fuse=yes"]);
    let text = missing.exited(1).to_string();
    assert!(text.contains("Error: mount sample at none") && text.contains("No such file"), "{text}");
    let required = scene.session.run(["oci", "mount", "sample", "mnt", "--fuse=yes", "--verity", "require"]);
    let text = required.exited(1).to_string();
    assert!(text.contains("repository is not verified"), "{text}");
}
