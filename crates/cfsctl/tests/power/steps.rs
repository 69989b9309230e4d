//! The series of operations that the power is cut in, and what must hold after the cut.

use std::{
    fmt,
    path::Path,
    process::{Command, Output},
};

use composefs_testkit::{
    images::{Compression, Image, Layer, Layout, noise},
    sample,
    state::State,
    tars::TarBuilder,
};

use crate::{
    harm::Harm,
    lasting::{self, Medium},
};

/// Where the guest has the images.
pub(crate) const LAYOUT: &str = "/layout";
const CFSCTL: &str = "/bin/cfsctl";

/// Writes the images of the series: they share their lowest layer, `two` has a file that is stored as it comes, and
/// `three` a layer that is sent in several parts.
pub(crate) fn images(layout: &Path) {
    let mut layout = Layout::create(layout);
    let lower = || Layer::new(sample::lower(), Compression::Gzip);
    layout.image("one", &Image::new([lower(), Layer::new(sample::upper(), Compression::Zstd)]));
    let mut own = TarBuilder::new().dir("opt").file("opt/large", noise(1, 1_200_000));
    for n in 0..24_u64 {
        own = own.file(&format!("opt/{n}"), noise(n + 2, usize::try_from(n).unwrap() * 700));
    }
    layout.image("two", &Image::new([lower(), Layer::new(own.finish(), Compression::Gzip)]));
    let quick = TarBuilder::new().dir("srv").file("srv/quick", noise(40, 20_000)).finish();
    let slow = TarBuilder::new().dir("srv").file("srv/slow", noise(41, 300_000)).finish();
    let layers = [lower(), Layer::new(quick, Compression::Gzip), Layer::new(slow, Compression::Gzip)];
    layout.image("three", &Image::new(layers));
}

/// What a step does.
enum Act {
    /// Runs cfsctl with these arguments.
    Run(Vec<String>),
    /// As that, but it may be refused when it was done already: a tag removed twice.
    Once(Vec<String>),
    /// Pulls an image from a registry that waits.
    Lasting,
    /// Damages the repository.
    Harm(Harm),
}

/// One operation.
pub(crate) struct Step {
    act: Act,
    /// Whether the repository is a verified one afterwards.
    verified: bool,
    /// Whether there may be damage while it is done.
    damaged: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.act {
            Act::Run(arguments) | Act::Once(arguments) => f.write_str(&arguments.join(" ")),
            Act::Lasting => f.write_str("oci pull that lasts"),
            Act::Harm(harm) => write!(f, "harm: {harm:?}"),
        }
    }
}

fn json_of(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Returns the digest of an image in the guest's layout.
fn digest_of(name: &str) -> String {
    let index = json_of(&Path::new(LAYOUT).join("index.json"));
    let mut all = index["manifests"].as_array().unwrap().iter();
    let found = all.find(|one| one["annotations"]["org.opencontainers.image.ref.name"] == name).unwrap();
    found["digest"].as_str().unwrap().to_owned()
}

/// Returns the manifest of an image in the guest's layout.
pub(crate) fn manifest_of(name: &str) -> serde_json::Value {
    let digest = digest_of(name);
    json_of(&Path::new(LAYOUT).join("blobs/sha256").join(digest.trim_start_matches("sha256:")))
}

/// How many operations the series has, in a repository with or without fs-verity.
pub(crate) const fn count(verified: bool) -> usize {
    if verified { 16 } else { 14 }
}

/// Returns the series, for a repository with or without fs-verity.
pub(crate) fn steps(verified: bool) -> Vec<Step> {
    let init: &[&str] = if verified { &["init"] } else { &["init", "--insecure"] };
    let two = digest_of("two");
    let algorithm = ["--algorithm", "fsverity-sha256-12"];
    let run = |arguments: &[&str]| Act::Run(arguments.iter().map(|&argument| argument.to_owned()).collect());
    let whole = |act| Step { act, verified, damaged: false };
    let damaged = |act| Step { act, verified, damaged: true };
    let mut steps = vec![
        whole(run(&[init, &algorithm].concat())),
        whole(run(&["oci", "pull", "oci:/layout:one", "one"])),
        whole(run(&["oci", "pull", "oci:/layout:two", "two"])),
        whole(run(&["oci", "seal", "one", "--name", "sealed"])),
        whole(run(&["oci", "tag", &two, "other/name"])),
        whole(run(&["oci", "pull", "oci:/layout:one", "other/name"])),
        whole(run(&["create-image", LAYOUT, "made/of/files"])),
        whole(Act::Once(["oci", "untag", "two"].map(str::to_owned).to_vec())),
        whole(run(&["gc"])),
        whole(run(&["oci", "pull", "--no-image", "oci:/layout:two", "two"])),
        whole(run(&["oci", "create-image", "two"])),
        whole(Act::Lasting),
        damaged(Act::Harm(Harm::Damage)),
        damaged(run(&["repair", "--deep"])),
    ];
    if verified {
        steps.push(Step { act: Act::Harm(Harm::Bare), verified: false, damaged: true });
        steps.push(whole(run(&["repair", "--enable-verity"])));
    }
    assert_eq!(steps.len(), count(verified));
    steps
}

impl Step {
    /// Does it; says what is wrong if it is refused.
    pub(crate) fn run(&self, repo: &Path, medium: Medium) -> Result<(), String> {
        match &self.act {
            Act::Run(arguments) | Act::Once(arguments) => wrong("done", &cfsctl(repo, arguments)),
            Act::Lasting => wrong("pulled", &lasting::pull(repo, medium)),
            Act::Harm(harm) => {
                harm.befall(repo);
                Ok(())
            }
        }
    }

    const fn is_harm(&self) -> bool {
        matches!(self.act, Act::Harm(_))
    }

    const fn once(&self) -> bool {
        matches!(self.act, Act::Once(_))
    }
}

/// Describes a run of cfsctl on a repository.
pub(crate) fn command<A: AsRef<std::ffi::OsStr>>(repo: &Path, arguments: &[A]) -> Command {
    let mut command = Command::new(CFSCTL);
    command.args(["--progress=none", "--repo"]).arg(repo).args(arguments).env("LC_ALL", "C");
    command
}

/// Runs cfsctl on a repository.
pub(crate) fn cfsctl<A: AsRef<std::ffi::OsStr>>(repo: &Path, arguments: &[A]) -> Output {
    command(repo, arguments).output().unwrap()
}

/// Returns standard output and error of a run that failed, nothing of one that did not.
fn wrong(what: &str, output: &Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    Err(format!("  {what}: {}\n{stdout}{stderr}", output.status))
}

/// The series with the states between the steps, undisturbed.
pub(crate) struct Series {
    /// Whether the repository has fs-verity.
    pub(crate) verified: bool,
    pub(crate) steps: Vec<Step>,
    /// The state before the first step, after it, and so on.
    pub(crate) states: Vec<State>,
}

/// What is done with a repository after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// The operation is repeated.
    Repeat,
    /// Garbage is collected before.
    CollectAndRepeat,
}

fn is_object(path: &str) -> bool {
    path.starts_with("objects/")
}

/// What there is while a pull is at work, and until a collection.
fn is_passing(path: &str) -> bool {
    path == ".cfs/pulls" || path.starts_with(".cfs/pulls/") || path.starts_with("streams/refs/x-pulls")
}

impl Series {
    /// Says what is wrong with a repository if the power was cut when so many steps had been reported as done.
    pub(crate) fn check(&self, repo: &Path, done: usize, recovery: Recovery) -> Result<(), String> {
        let now = State::read(repo);
        let before = &self.states[done];
        let after = self.states.get(done + 1).unwrap_or(before);
        let names = |state: &State| state.filter(|path| !is_object(path) && !is_passing(path));
        let strays = names(&now).strays(&names(before), &names(after));
        if !strays.is_empty() {
            return Err(format!("  what was left:\n{strays}"));
        }
        self.check_objects(&now, before, after)?;
        let doing = self.steps.get(done);
        // What is needed and damaged, no collection passes over.
        let recovery = if doing.is_some_and(|step| step.damaged) { Recovery::Repeat } else { recovery };
        let was_verified = self.is_verified(done);
        if now.is_repository() && doing.is_none_or(|step| !step.damaged) {
            if recovery == Recovery::CollectAndRepeat {
                wrong("gc", &cfsctl(repo, &["gc"]))?;
            }
            clean(repo, was_verified)?;
            wrong("oci fsck", &cfsctl(repo, &["oci", "fsck"]))?;
            read_all(repo)?;
        }
        let Some(step) = doing else { return Ok(()) };
        let again = step.run(repo, Medium::Ready);
        let end = State::read(repo);
        let difference = self.difference(&end, after, recovery);
        if !(step.once() && difference.is_empty()) {
            again.map_err(|text| format!("  repeated:\n{text}"))?;
        }
        if !difference.is_empty() {
            return Err(format!("  repeated:\n{difference}"));
        }
        if matches!(step.act, Act::Harm(Harm::Damage)) {
            return Ok(());
        }
        clean(repo, self.is_verified(done + 1))?;
        read_all(repo)
    }

    /// Tells whether the repository demands fs-verity when so many steps are done.
    fn is_verified(&self, done: usize) -> bool {
        done.checked_sub(1).map_or(self.verified, |last| self.steps[last].verified)
    }

    /// Says in what a state differs from the one after the undisturbed operation.
    fn difference(&self, end: &State, after: &State, recovery: Recovery) -> String {
        if recovery == Recovery::CollectAndRepeat {
            // What nothing needed and was there undisturbed is not there now.
            let refs = |state: &State| state.filter(|path| path.contains("/refs/") && !is_passing(path));
            return refs(end).difference(&refs(after));
        }
        // Objects that were collected may be there again: that their names went was not durable, and need not be.
        let expected = end.filter(|path| (!is_object(path) || after.has(path)) && !is_passing(path));
        let end = end.filter(|path| !is_passing(path));
        expected.difference(&after.filter(|path| !is_passing(path))) + &end.unknown_to(&self.states)
    }

    /// Says what is wrong with the objects: all of them that were there and should stay are, and no other is, unless it
    /// was there once and its removal was not yet durable. Without fs-verity one that nothing names may be torn.
    fn check_objects(&self, now: &State, before: &State, after: &State) -> Result<(), String> {
        let objects = |state: &State| state.filter(is_object);
        let lost =
            before.filter(|path| is_object(path) && after.agrees_with(before, path)).files_other_than(now);
        if !lost.is_empty() {
            return Err(format!("  lost or changed:\n{lost}"));
        }
        if self.verified {
            let known: Vec<State> = self.states.iter().map(objects).collect();
            let strays = objects(now).unknown_to(&known);
            if !strays.is_empty() {
                return Err(format!("  objects that never were:\n{strays}"));
            }
        }
        Ok(())
    }

    /// Tells whether it was harm that was being done.
    pub(crate) fn is_harmed_at(&self, done: usize) -> bool {
        self.steps.get(done).is_some_and(Step::is_harm)
    }

    /// Says in words what was being done.
    pub(crate) fn doing(&self, done: usize) -> String {
        self.steps.get(done).map_or_else(|| "nothing".to_owned(), ToString::to_string)
    }
}

fn clean(repo: &Path, verified: bool) -> Result<(), String> {
    let arguments = ["--require-verity", "fsck", "--deep"];
    wrong("fsck --deep", &cfsctl(repo, if verified { &arguments } else { &arguments[1..] }))
}

/// Reads all objects to their ends: with fs-verity the kernel then compares every block.
fn read_all(repo: &Path) -> Result<(), String> {
    let mut pending = vec![repo.join("objects")];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.exists() {
            std::fs::read(&path).map_err(|error| format!("  {}: {error}", path.display()))?;
        }
    }
    Ok(())
}
