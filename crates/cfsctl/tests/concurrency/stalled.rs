//! A registry that stops in the middle of a layer: nobody else waits for it.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use composefs_testkit::{
    peers,
    registry::{Fault, Rule},
};

use crate::crowd::{CFSCTL, Crowd};

/// So long nobody may take, on a busy machine; the pull is held up until they are done.
const MOST: Duration = Duration::from_secs(20);

/// Starts a pull of `many` and waits until it has seen what is here; its next layer does not come to its end.
fn start(crowd: &Crowd) -> (Child, BufReader<std::process::ChildStderr>) {
    crowd.registry.inject(Rule::new("/blobs/", Fault::Stall(100_000, None)));
    let mut child = Command::new(CFSCTL)
        .env_clear()
        .env("HOME", crowd.sandbox.path("home"))
        .arg("--repo")
        .arg(crowd.sandbox.repo())
        .args(["--jobs=1", "--progress=json", "oci", "pull", "--tls-verify=false"])
        .args([&crowd.reference("many", true), "slow"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while talk.read_line(&mut line).unwrap() > 0 {
        if line.contains("\"plan\"") {
            return (child, talk);
        }
        line.clear();
    }
    panic!("the pull ended: {:?}", child.wait());
}

#[test]
fn others_go_on() {
    let crowd = Crowd::new("fsverity-sha512-12");
    // What the pull finds here goes while it waits.
    let _ = crowd.run(["-q", "oci", "pull", &crowd.reference("base", false), "base"]).success();
    let (mut child, mut talk) = start(&crowd);
    let _ = crowd.run(["oci", "untag", "base"]).success();
    let begin = Instant::now();
    let _ = crowd.run(["gc", "--timeout", "15"]).success();
    let _ = crowd.run(["-q", "oci", "pull", &crowd.reference("app", false), "app"]).success();
    crowd.clean();
    if let Some(other) = peers::cfsctl_or_skip() {
        let _ = crowd.run_other(&other, ["gc"]).success();
    }
    let _ = crowd.run(["gc", "--timeout", "15"]).success();
    assert!(begin.elapsed() < MOST, "others took {:?}", begin.elapsed());
    assert_eq!(child.try_wait().unwrap(), None, "the pull waits no more");

    crowd.registry.heal();
    crowd.registry.release();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut talk, &mut rest).unwrap();
    assert!(child.wait().unwrap().success(), "{rest}");
    let _ = crowd.run(["gc"]).success();
    crowd.clean();
    let tags = crowd.tags();
    assert_eq!(tags.keys().collect::<Vec<_>>(), ["app", "slow"]);
    assert_eq!(tags["slow"], crowd.manifests["many"]);
}
