//! What happens inside of the machine, as root: a disk whose writes are logged, and disks as of moments of that log.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use composefs_testkit::state::State;
use rustix::fs::SeekFrom;

use crate::{
    lasting::Medium,
    steps::{Recovery, Series, steps},
    write_log::{Moment, WriteLog},
};

const MEMORY: &str = "/ram";
const AT: &str = "/mnt/disk";
const REPO: &str = "/mnt/disk/repo";

#[track_caller]
fn run(line: &str) -> String {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A file system to try: how it is made, how large, whether it has fs-verity.
struct Kind {
    name: &'static str,
    make: &'static str,
    mib: u64,
    verified: bool,
}

const KINDS: &[Kind] = &[
    Kind { name: "ext4", make: "mkfs.ext4 -q -b 4096 -O verity", mib: 64, verified: true },
    Kind { name: "btrfs", make: "mkfs.btrfs -q", mib: 128, verified: true },
    Kind { name: "xfs", make: "mkfs.xfs -q", mib: 320, verified: false },
];

/// Makes an empty file of that size.
fn file(name: &str, mib: u64) -> PathBuf {
    let path = Path::new(MEMORY).join(name);
    File::create(&path).unwrap().set_len(mib << 20).unwrap();
    path
}

/// A file as a block device, until it is dropped.
struct Loop(String);

impl Loop {
    fn new(file: &Path) -> Self {
        let device = run("losetup -f").trim().to_owned();
        run(&format!("losetup {device} {}", file.display()));
        Self(device)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run(&format!("losetup -d {}", self.0));
    }
}

/// Does the whole series, and notes the states between.
fn perform(verified: bool, repo: &Path, mut after: impl FnMut(usize)) -> Series {
    let mut series = Series { verified, steps: steps(verified), states: vec![State::default()] };
    for (at, step) in series.steps.iter().enumerate() {
        step.run(repo, Medium::Waits).unwrap_or_else(|text| panic!("{step}: {text}"));
        after(at);
        series.states.push(State::read(repo));
    }
    series
}

/// Does the whole series on a new file system and logs what is written.
fn record(kind: &Kind, base: &Path) -> (Series, WriteLog) {
    let disk = file("disk", kind.mib);
    run(&format!("{} {}", kind.make, disk.display()));
    copy(&disk, &File::create(base).unwrap());
    let log = file("log", 256);
    let series;
    {
        let (disk, log) = (Loop::new(&disk), Loop::new(&log));
        let table = format!("0 {} log-writes {} {}", kind.mib << 11, disk.0, log.0);
        let made = Command::new("dmsetup")
            .args(["create", "logged", "--noudevsync", "--noudevrules", "--table", &table])
            .status();
        assert!(made.unwrap().success());
        run(&format!("mount -t {} -o noatime /dev/dm-0 {AT}", kind.name));
        series = perform(kind.verified, Path::new(REPO), |at| {
            run(&format!("dmsetup message logged 0 mark step-{at}"));
        });
        run(&format!("umount {AT}"));
        run("dmsetup remove --noudevsync logged");
    }
    std::fs::remove_file(disk).unwrap();
    (series, WriteLog::read(&log))
}

/// Copies what a file has, holes and zeros left out.
fn copy(from: &Path, to: &File) {
    let from = File::open(from).unwrap();
    let size = from.metadata().unwrap().len();
    to.set_len(0).unwrap();
    to.set_len(size).unwrap();
    let mut at = 0;
    let mut bytes = vec![0; 1 << 16];
    while let Ok(data) = rustix::fs::seek(&from, SeekFrom::Data(at)) {
        // mkfs.xfs has written 64 MiB of zeros.
        let length = usize::try_from(size - data).unwrap().min(bytes.len());
        from.read_exact_at(&mut bytes[..length], data).unwrap();
        if bytes[..length].iter().any(|byte| *byte != 0) {
            to.write_all_at(&bytes[..length], data).unwrap();
        }
        at = data + length as u64;
    }
}

/// Returns how many steps were reported as done by then.
fn done(log: &WriteLog, moment: Moment) -> usize {
    log.marks(moment).filter(|mark| mark.starts_with("step-")).count()
}

/// Chooses moments: every flush, just before it, and between it and the one before with pieces lost; or some of these.
/// A harm that is cut short is nobody's business.
fn moments(log: &WriteLog, series: &Series, at_most: usize) -> Vec<Moment> {
    let mut all = Vec::new();
    let mut last = 0;
    let mut seed = 0;
    for (at, _) in log.entries.iter().enumerate().filter(|(_, entry)| entry.is_flush()) {
        for part in 1..=3 {
            seed += 1;
            all.push(Moment { after: last + (at - last) * part / 3, losing: Some(seed) });
        }
        all.push(Moment { after: at, losing: None });
        all.push(Moment { after: at + 1, losing: None });
        last = at + 1;
    }
    all.push(Moment { after: log.entries.len(), losing: None });
    all.retain(|moment| !series.is_harmed_at(done(log, *moment)));
    let step = all.len().div_ceil(at_most).max(1);
    // Not the same kind of moment each time.
    let mut some: Vec<Moment> = Vec::new();
    for (n, chunk) in all.chunks(step).enumerate() {
        some.push(chunk[n * 7 % chunk.len()]);
    }
    some
}

#[test]
#[ignore = "runs inside of the machine"]
fn replay() {
    let name = std::env::var("POWER_KIND").unwrap();
    let at_most: usize = std::env::var("POWER_MOMENTS").unwrap().parse().unwrap();
    let kind = KINDS.iter().find(|kind| kind.name == name).unwrap();
    for directory in [MEMORY, AT] {
        std::fs::create_dir_all(directory).unwrap();
    }
    run(&format!("mount -t tmpfs -o size=90% none {MEMORY}"));
    let base = Path::new(MEMORY).join("base");
    let began = Instant::now();
    let (series, log) = record(kind, &base);
    let (piece, pieces): (usize, usize) = {
        let text = std::env::var("POWER_PIECE").unwrap();
        let (piece, pieces) = text.split_once('/').unwrap();
        (piece.parse().unwrap(), pieces.parse().unwrap())
    };
    let moments = moments(&log, &series, at_most);
    let moments: Vec<Moment> = moments.into_iter().skip(piece).step_by(pieces).collect();
    println!(
        "{name}: {} steps, {} entries with {} flushes in {:?}; {} moments",
        series.steps.len(),
        log.entries.len(),
        log.flushes(),
        began.elapsed(),
        moments.len()
    );
    let began = Instant::now();
    let mut found = 0;
    let mut counts = vec![0; series.states.len()];
    let mut preparing = std::time::Duration::ZERO;
    for (n, moment) in moments.iter().enumerate() {
        let prepared = Instant::now();
        let done = done(&log, *moment);
        counts[done] += 1;
        let path = Path::new(MEMORY).join("disk");
        let disk = File::create(&path).unwrap();
        copy(&base, &disk);
        log.replay(*moment, &disk);
        drop(disk);
        let device = Loop::new(&path);
        run(&format!("mount -t {} -o noatime {} {AT}", kind.name, device.0));
        preparing += prepared.elapsed();
        // Both ways at each kind of moment.
        let recovery = if n % 4 == 3 { Recovery::CollectAndRepeat } else { Recovery::Repeat };
        let result = series.check(Path::new(REPO), done, recovery);
        run(&format!("umount {AT}"));
        if let Err(text) = result {
            found += 1;
            println!("WRONG: {name} {moment}, in `{}`, {recovery:?}:\n{text}", series.doing(done));
        }
    }
    for (done, count) in counts.iter().enumerate() {
        println!("{name}: {count} moments in `{}`", series.doing(done));
    }
    println!(
        "{name}: {} moments in {:?}, {preparing:?} for the disks, {found} wrong",
        moments.len(),
        began.elapsed()
    );
}

/// What the machine does whose power is cut: on a new disk the series undisturbed, on one with a repository the checks.
/// Then, but for the last time, the series again, which is when the power goes.
#[test]
#[ignore = "runs inside of the machine"]
fn cut() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let verified = variable("POWER_KIND") != "xfs";
    let repo = Path::new("/scratch/repo");
    let states = Path::new("/scratch/states.json");
    if states.exists() {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(states).unwrap()).unwrap();
        let states = json.as_array().unwrap().iter().map(State::from_json).collect();
        let series = Series { verified, steps: steps(verified), states };
        let done: usize = variable("POWER_DONE").parse().unwrap();
        let recovery =
            if variable("POWER_COLLECT") == "1" { Recovery::CollectAndRepeat } else { Recovery::Repeat };
        match series.check(repo, done, recovery) {
            Ok(()) => println!("whole"),
            Err(text) => println!("WRONG: {recovery:?}:\n{text}"),
        }
    } else {
        let mut began = Instant::now();
        let series = perform(verified, repo, |_| {
            println!("took: {}", began.elapsed().as_secs_f64());
            began = Instant::now();
        });
        let json: serde_json::Value = series.states.iter().map(State::to_json).collect();
        std::fs::write(states, json.to_string()).unwrap();
    }
    if variable("POWER_LAST") == "1" {
        return;
    }
    let _ = std::fs::remove_dir_all(repo);
    run("sync");
    println!("go");
    perform(verified, repo, |at| println!("done: {at}"));
    println!("all done");
    loop {
        std::thread::park();
    }
}
