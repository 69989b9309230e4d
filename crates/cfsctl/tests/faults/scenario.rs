//! Operations on small repositories, what they call, and what must hold when one was cut short.
//!
//! `COMPOSEFS_TEST_FAULTS=all` puts every fault at every point; without it each point gets one of the faults in turn,
//! and of many points alike (reads, writes, looks) only some are taken.

use std::{
    fmt::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use composefs_testkit::{
    Output, Sandbox,
    faults::{Call, Faults, Point, points},
    images::{Compression, Image, Layer, Layout},
    sample,
    tars::TarBuilder,
};

use crate::state::State;

/// The program under test.
pub(crate) const CFSCTL: &str = env!("CARGO_BIN_EXE_cfsctl");

/// Whether nothing is left out.
pub(crate) fn all() -> bool {
    std::env::var_os("COMPOSEFS_TEST_FAULTS").is_some_and(|value| value == "all")
}

/// An operation and its start.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<String>,
    /// Whether the operation, done already, may be refused when it is asked for again: a tag removed twice.
    once: bool,
    /// Whether there is damage at the start, which the operation mends.
    damaged: bool,
    template: Sandbox,
    before: State,
    after: State,
    settled: State,
    /// What it called, undisturbed, and whether that was about the repository or what is put into it.
    calls: Vec<(Call, bool)>,
}

/// Memory where there is such a file system: thousands of syncs are for the disks of others.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// Two images in `layout`: they share their lowest layer, and `two` has a file that is stored as it comes.
fn images(sandbox: &Sandbox) {
    let mut layout = Layout::create(sandbox.path("layout"));
    let lower = || Layer::new(sample::lower(), Compression::Gzip);
    layout.image("one", &Image::new([lower(), Layer::new(sample::upper(), Compression::Zstd)]));
    let large: String = (0..90_000).map(|n| format!("{n} of many\n")).collect();
    let own = TarBuilder::new().dir("opt").file("opt/large", large).file("opt/small", "small\n".repeat(20));
    layout.image("two", &Image::new([lower(), Layer::new(own.finish(), Compression::Gzip)]));
}

const INIT: [&str; 4] = ["init", "--insecure", "--algorithm", "fsverity-sha256-12"];

impl Scenario {
    /// Prepares a repository with `prepare`, which runs cfsctl with each list of arguments, and does the operation
    /// once, undisturbed. `LAYOUT` in arguments is the layout with the images `one` and `two`.
    pub(crate) fn new(
        faults: &Faults,
        name: &'static str,
        prepare: &[&[&str]],
        change: impl FnOnce(&Sandbox),
        arguments: &[&str],
    ) -> Self {
        let template = Sandbox::within(&place(), CFSCTL);
        images(&template);
        let layout = template.path("layout").display().to_string();
        let fill = |arguments: &[&str]| -> Vec<String> {
            arguments.iter().map(|argument| argument.replace("LAYOUT", &layout)).collect()
        };
        for arguments in prepare {
            let _ = template.cfsctl(fill(arguments)).success();
        }
        change(&template);
        let before = State::read(&template.repo());
        let mut scenario = Self {
            name,
            arguments: fill(arguments),
            once: false,
            damaged: false,
            template,
            before,
            after: State::default(),
            settled: State::default(),
            calls: Vec::new(),
        };
        let sandbox = scenario.start();
        let recorded = faults.record(&sandbox, scenario.full(&sandbox));
        assert_eq!(recorded.output.code(), 0, "{name} undisturbed: {}", recorded.output);
        scenario.after = State::read(&sandbox.repo());
        let places = scenario.places(&sandbox);
        scenario.calls = recorded
            .calls
            .into_iter()
            .map(|call| (call.clone(), touches(&call.arguments, &places)))
            .collect();
        let _ = sandbox.cfsctl(["gc"]).success();
        scenario.settled = State::read(&sandbox.repo());
        scenario
    }

    /// Lets the operation be refused when it was done already.
    fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Says that the repository is damaged at the start, and that the operation mends it.
    fn damaged(mut self) -> Self {
        self.damaged = true;
        self
    }

    /// Returns a sandbox with the repository as it is before the operation.
    pub(crate) fn start(&self) -> Sandbox {
        let sandbox = Sandbox::within(&place(), CFSCTL);
        if self.template.repo().exists() {
            let copied = Command::new("cp").arg("-a").arg(self.template.repo()).arg(sandbox.repo()).status();
            assert!(copied.unwrap().success());
        }
        sandbox
    }

    /// Returns the operation's whole arguments.
    pub(crate) fn full(&self, sandbox: &Sandbox) -> Vec<String> {
        let global =
            ["--progress=none".to_owned(), "--repo".to_owned(), sandbox.repo().display().to_string()];
        global.into_iter().chain(self.arguments.iter().cloned()).collect()
    }

    /// Returns the directories that the operation is about.
    pub(crate) fn places(&self, sandbox: &Sandbox) -> [String; 2] {
        [sandbox, &self.template].map(|of| of.path("").display().to_string().trim_end_matches('/').to_owned())
    }

    /// Tells whether a call is about the repository in `sandbox` or what is put into it.
    pub(crate) fn touches(&self, sandbox: &Sandbox, call: &Call) -> bool {
        touches(&call.arguments, &self.places(sandbox))
    }

    /// Returns the points of calls by these names: of calls about the repository, and of no others. Where one thread's
    /// first call of a name loads a library, another's first is left out with it.
    pub(crate) fn points(&self, names: &[&str]) -> Vec<Point> {
        let of = |wanted: bool| {
            let calls: Vec<Call> =
                self.calls.iter().filter(|(_, here)| *here == wanted).map(|(call, _)| call.clone()).collect();
            points(&calls, |call| names.contains(&call.name.as_str()))
        };
        let others = of(false);
        of(true).into_iter().filter(|point| !others.contains(point)).collect()
    }

    /// Says what is wrong if `sandbox` is not as after the undisturbed operation.
    pub(crate) fn done(&self, sandbox: &Sandbox) -> Result<(), String> {
        let difference = State::read(&sandbox.repo()).difference(&self.after);
        if difference.is_empty() { Ok(()) } else { Err(format!("  it succeeded, and left\n{difference}")) }
    }

    /// Says what is wrong with a repository in which the operation was cut short: it must be clean, with nothing but
    /// temporaries that belongs there neither before nor after, and the operation repeated must end as undisturbed.
    pub(crate) fn recovers(&self, sandbox: &Sandbox) -> Result<(), String> {
        let now = State::read(&sandbox.repo());
        let strays = now.strays(&self.before, &self.after);
        if !strays.is_empty() {
            return Err(format!("  what was left:\n{strays}"));
        }
        if now.is_repository() && !self.damaged {
            clean(sandbox)?;
        }
        let again = sandbox.bare(self.full(sandbox));
        if again.code() != 0
            && !(self.once && State::read(&sandbox.repo()).difference(&self.after).is_empty())
        {
            return Err(format!("  repeated: {again}"));
        }
        // Temporaries of others are collected when they are old: those of a pull in progress must stay.
        for path in State::read(&sandbox.repo()).temporaries() {
            let old = Command::new("touch")
                .args(["-h", "-d", "2000-01-01"])
                .arg(sandbox.repo().join(path))
                .status();
            assert!(old.unwrap().success());
        }
        succeeds(&sandbox.cfsctl(["gc"]))?;
        let difference = State::read(&sandbox.repo()).difference(&self.settled);
        if !difference.is_empty() {
            return Err(format!("  repeated and collected:\n{difference}"));
        }
        clean(sandbox)
    }
}

/// Says what is wrong with a repository.
fn clean(sandbox: &Sandbox) -> Result<(), String> {
    succeeds(&sandbox.cfsctl(["fsck", "--deep"]))?;
    succeeds(&sandbox.cfsctl(["oci", "fsck"]))
}

fn succeeds(output: &Output) -> Result<(), String> {
    if output.code() == 0 { Ok(()) } else { Err(format!("  {output}")) }
}

/// Tells whether a call is about one of `places`; what the loader opens, and what is printed, is not.
fn touches(arguments: &str, places: &[String]) -> bool {
    // What is written down beside the repository may be lost, and nobody is told.
    if arguments.contains("/.cfs") || arguments.contains("\".cfs") {
        return false;
    }
    let rest = match arguments.strip_prefix("AT_FDCWD") {
        // The program runs in a sandbox, and every path of its own is absolute.
        Some(rest) if rest.starts_with('<') => rest.split_once('>').map_or("", |(_, rest)| rest),
        Some(rest) => rest,
        None => arguments,
    };
    places.iter().any(|place| rest.contains(place))
}

/// Keeps of many alike every so-manieth; all of them when nothing is left out.
pub(crate) fn sample_of<T>(list: Vec<T>, at_most: usize) -> Vec<T> {
    let step = if all() { 1 } else { list.len().div_ceil(at_most.max(1)).max(1) };
    list.into_iter().step_by(step).collect()
}

/// What `work` says of a point that was not reached.
pub(crate) const MISSED: &str = "missed";

/// Does `work` for each of `list` on all processors; panics with what was said to be wrong, and tells how many there
/// were of what `work` returned.
#[track_caller]
pub(crate) fn each<T: Sync + fmt::Display>(
    scenario: &Scenario,
    list: &[T],
    work: impl Fn(&T) -> Result<&'static str, String> + Sync,
) {
    assert!(!list.is_empty(), "{}: no points", scenario.name);
    let next = AtomicUsize::new(0);
    let found = Mutex::new((std::collections::BTreeMap::<&str, usize>::new(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                while let Some(one) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = work(one);
                    let mut found = found.lock().unwrap();
                    match result {
                        Ok(what) => *found.0.entry(what).or_default() += 1,
                        Err(text) => found.1.push(format!("{one}:\n{text}")),
                    }
                }
            });
        }
    });
    let (counts, wrong) = found.into_inner().unwrap();
    let mut text = format!("{}: {} points", scenario.name, list.len());
    for (what, count) in &counts {
        let _ = write!(text, ", {count} {what}");
    }
    eprintln!("{text}");
    assert!(wrong.is_empty(), "{text}, {} wrong:\n{}", wrong.len(), wrong.join("\n"));
    // Chance moves a call from one thread to another, and then its point is missed; most are not.
    assert!(counts.get(MISSED).is_none_or(|missed| missed * 3 <= list.len()), "{text}");
}

/// What may have been started by a process that is no more: old enough to be collected.
fn leave_temporaries(sandbox: &Sandbox) {
    let repo = sandbox.repo();
    std::os::unix::fs::symlink("nowhere", repo.join(".symlink-abcdefghijkl")).unwrap();
    sandbox.write("repo/objects/.tmp-object-abcdefghijkl", "half of an object");
    for path in [".symlink-abcdefghijkl", "objects/.tmp-object-abcdefghijkl"] {
        let old = Command::new("touch").args(["-h", "-d", "2000-01-01"]).arg(repo.join(path)).status();
        assert!(old.unwrap().success());
    }
    let records = repo.join("images/refs/x-mounts");
    std::fs::create_dir_all(&records).unwrap();
    let image = std::fs::read_dir(repo.join("images"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.len() == 64)
        .unwrap();
    let stale = records.join("00000000-0000-0000-0000-000000000000-17");
    std::os::unix::fs::symlink(format!("../../{image}"), stale).unwrap();
}

fn nothing(_: &Sandbox) {}

/// Damages the object of the sample's largest file, and takes away the names of the layers, so that a pull stores them
/// anew and comes upon it.
fn damage(sandbox: &Sandbox) {
    // The words of the sample: the only one of this size.
    let (_, path) = objects(sandbox).into_iter().find(|(size, _)| (13_000..14_000).contains(size)).unwrap();
    flip(&path);
    for entry in std::fs::read_dir(sandbox.path("repo/streams")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with("oci-layer-") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// Returns the objects of a repository: size and path.
fn objects(sandbox: &Sandbox) -> Vec<(u64, PathBuf)> {
    let mut objects = Vec::new();
    for directory in std::fs::read_dir(sandbox.path("repo/objects")).unwrap() {
        for file in std::fs::read_dir(directory.unwrap().path()).unwrap() {
            let file = file.unwrap();
            objects.push((file.metadata().unwrap().len(), file.path()));
        }
    }
    objects
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[100] ^= 1;
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Something for each kind of step: a layer's file, an image, names, and a damaged file that nothing needs.
fn damage_all_over(sandbox: &Sandbox) {
    for (size, path) in objects(sandbox) {
        // The words of the sample, and the large file of `two`.
        if (13_000..14_000).contains(&size) || size > 1_000_000 {
            flip(&path);
        }
    }
    let repo = sandbox.repo();
    let image = std::fs::read_dir(repo.join("images"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.symlink_metadata().unwrap().is_symlink())
        .unwrap();
    std::fs::remove_file(std::fs::canonicalize(image).unwrap()).unwrap();
    let tag = std::fs::read_link(repo.join("streams/refs/oci/one")).unwrap();
    std::fs::remove_file(repo.join("streams").join(tag.file_name().unwrap())).unwrap();
}

const PULL_ONE: [&str; 4] = ["oci", "pull", "oci:LAYOUT:one", "one"];
const PULL_TWO: [&str; 4] = ["oci", "pull", "oci:LAYOUT:two", "two"];

/// The scenarios by name.
pub(crate) fn scenario(faults: &Faults, name: &'static str) -> Scenario {
    let new = |prepare: &[&[&str]], change: fn(&Sandbox), arguments: &[&str]| {
        Scenario::new(faults, name, prepare, change, arguments)
    };
    match name {
        "init" => new(&[], nothing, &INIT),
        "init --reset-metadata" => {
            new(&[&INIT, &PULL_ONE], nothing, &[&INIT[..], &["--reset-metadata"]].concat())
        }
        "pull" => new(&[&INIT], nothing, &PULL_TWO),
        "pull beside" => new(&[&INIT, &PULL_ONE], nothing, &PULL_TWO),
        "pull over a tag" => new(&[&INIT, &PULL_ONE], nothing, &["oci", "pull", "oci:LAYOUT:two", "one"]),
        // The config's entry leads to a stream without an image, and is replaced by one with it.
        "pull with an image now" => {
            new(&[&INIT, &[&PULL_ONE[..], &["--no-image"]].concat()], nothing, &PULL_ONE)
        }
        "pull that mends" => new(&[&INIT, &PULL_ONE, &["oci", "untag", "one"]], damage, &PULL_ONE).damaged(),
        "seal" => new(&[&INIT, &PULL_ONE], nothing, &["oci", "seal", "one", "--name", "sealed/one"]),
        "untag" => new(&[&INIT, &PULL_ONE, &PULL_TWO], nothing, &["oci", "untag", "two"]).once(),
        "gc" => {
            let prepare = [&INIT[..], &PULL_ONE, &PULL_TWO, &["oci", "untag", "two"]];
            new(&prepare, leave_temporaries, &["gc"])
        }
        "gc of all" => new(&[&INIT, &PULL_ONE, &["oci", "untag", "one"]], nothing, &["gc"]),
        "gc to fit" => {
            let arguments = ["gc", "--max-size", "1M", "--untag"];
            new(&[&INIT, &PULL_TWO, &PULL_ONE], nothing, &arguments)
        }
        "create-image" => new(&[&INIT], nothing, &["create-image", "LAYOUT", "made/of/files"]),
        "oci create-image" => {
            let pull = [&PULL_ONE[..], &["--no-image"]].concat();
            new(&[&INIT, &pull], nothing, &["oci", "create-image", "one"])
        }
        "repair" => {
            let prepare = [&INIT[..], &PULL_ONE, &PULL_TWO, &["oci", "untag", "two"]];
            new(&prepare, damage_all_over, &["repair"]).damaged()
        }
        "fsck" => new(&[&INIT, &PULL_ONE], nothing, &["fsck", "--deep"]),
        "oci fsck" => new(&[&INIT, &PULL_ONE], nothing, &["oci", "fsck"]),
        _ => panic!("no scenario {name}"),
    }
}
