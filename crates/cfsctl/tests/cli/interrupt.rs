//! Ctrl-C in the middle of a pull.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use composefs_testkit::{
    images::{Compression, Image, Layer},
    registry::{Fault, Registry, RegistryOptions, Rule},
    tars::TarBuilder,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{CFSCTL, Session};

fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

fn layer(seed: u32, length: usize) -> Layer {
    let tar = TarBuilder::new().dir("usr").file(&format!("usr/{seed}"), noise(seed, length)).finish();
    Layer::new(tar, Compression::Gzip)
}

/// An image whose larger layer arrives and whose smaller one stops in the middle.
struct Stalled {
    session: Session,
    registry: Registry,
    large: Layer,
}

impl Stalled {
    fn new() -> Self {
        let session = Session::with_repository();
        let registry = Registry::start(RegistryOptions::default());
        let (large, small) = (layer(1, 400_000), layer(2, 300_000));
        let stalls = format!("/blobs/{}", small.digest);
        registry.add_image("app", "v1", &Image::new([large.clone(), small]));
        registry.inject(Rule::new(&stalls, Fault::Stall(100_000, None)));
        Self { session, registry, large }
    }

    /// Starts a pull and waits until the large layer is done and the small one under way.
    fn start(&self) -> (Child, BufReader<std::process::ChildStderr>) {
        let mut child = Command::new(CFSCTL)
            .env_clear()
            .env("HOME", self.session.sandbox.path("home"))
            .arg("--repo")
            .arg(self.session.sandbox.repo())
            .args(["--jobs=1", "--progress=json", "oci", "pull", "--tls-verify=false"])
            .args([&self.registry.reference("app:v1"), "app"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut talk = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let mut done = false;
        while talk.read_line(&mut line).unwrap() > 0 {
            done |= line.contains("\"done\"");
            if done && line.contains("fetching") && !line.contains(&self.large.digest) {
                return (child, talk);
            }
            line.clear();
        }
        panic!("the pull ended: {:?}", child.wait());
    }

    /// Nothing is named but the layer that was finished, and nothing is damaged.
    fn look(&self) {
        let streams: Vec<String> = std::fs::read_dir(self.session.sandbox.repo().join("streams"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "refs")
            .collect();
        assert_eq!(streams, [format!("oci-layer-{}", self.large.diff_id)]);
        let _ = self.session.run(["fsck", "--deep"]).success();
        // What was begun has no names, or is too young to be taken away.
        self.registry.heal();
        self.registry.release();
        self.registry.forget_requests();
        let again = self
            .session
            .run(["oci", "pull", "--tls-verify=false", &self.registry.reference("app:v1"), "app"])
            .success();
        assert!(again.to_string().contains("is here already"), "{again}");
        let blob = format!("/blobs/{}", self.large.digest);
        assert!(self.registry.requests().iter().all(|request| !request.path.contains(&blob)));
    }
}

fn kill(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn once_keeps_what_is_finished() {
    let stalled = Stalled::new();
    let (mut child, mut talk) = stalled.start();
    kill(&child, Signal::INT);
    // More of the layer comes then, and the pull sees that nobody wants it.
    stalled.registry.release();
    let mut rest = String::new();
    talk.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    let event = "{\"event\":\"cancelled\",\"text\":\"interrupted; 1 layer is kept\"}\n";
    assert!(rest.ends_with(event), "{rest}");
    stalled.look();
}

#[test]
fn a_server_that_says_nothing_keeps_nobody() {
    let stalled = Stalled::new();
    let (mut child, mut talk) = stalled.start();
    kill(&child, Signal::TERM);
    let mut rest = String::new();
    talk.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143), "{rest}");
    stalled.look();
}

#[test]
fn twice_ends_at_once() {
    let stalled = Stalled::new();
    let (mut child, mut talk) = stalled.start();
    let begun = Instant::now();
    // Signals that arrive together are one, so this goes on until it has ended.
    while child.try_wait().unwrap().is_none() {
        kill(&child, Signal::INT);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let _ = talk.read_to_string(&mut String::new());
    let _ = stalled.session.run(["fsck", "--deep"]).success();
}

#[test]
fn a_check_tells_what_it_found_until_then() {
    let session = Session::with_sample();
    let repo = session.sandbox.repo();
    // Nobody reads that much: the check is in it when the signal comes.
    let endless = repo.join("objects/00").join("0".repeat(62));
    std::fs::create_dir_all(endless.parent().unwrap()).unwrap();
    std::fs::File::create(&endless).unwrap().set_len(1 << 40).unwrap();
    for (arguments, before) in [
        (&["fsck"][..], "status: stopped, 0 error(s) so far\n"),
        (&["oci", "fsck", "--deep", "--json"], "\"stopped\": true"),
    ] {
        let mut child = Command::new(CFSCTL)
            .env_clear()
            .env("HOME", session.sandbox.path("home"))
            .arg("--repo")
            .arg(&repo)
            .args(["--jobs=1", "--progress=json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut talk = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while talk.read_line(&mut line).unwrap() > 0 && !line.contains("\"event\":\"objects\"") {
            line.clear();
        }
        kill(&child, Signal::INT);
        let (mut rest, mut result) = (String::new(), String::new());
        talk.read_to_string(&mut rest).unwrap();
        child.stdout.take().unwrap().read_to_string(&mut result).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
        assert!(result.contains(before) && !result.contains("status: ok"), "{result}");
        assert!(
            rest.ends_with("{\"event\":\"cancelled\",\"text\":\"stopped before all was checked\"}\n"),
            "{rest}"
        );
    }
}
