//! The series of operations that the power is cut in, and what must hold after the cut.

use std::{
    path::Path,
    process::{Command, Output},
};

use composefs_testkit::{
    images::{Compression, Image, Layer, Layout, noise},
    sample,
    state::State,
    tars::TarBuilder,
};

/// Where the guest has the images.
pub(crate) const LAYOUT: &str = "/layout";
const CFSCTL: &str = "/bin/cfsctl";

/// Writes the images of the series: they share their lowest layer, and `two` has a file that is stored as it comes.
pub(crate) fn images(layout: &Path) {
    let mut layout = Layout::create(layout);
    let lower = || Layer::new(sample::lower(), Compression::Gzip);
    layout.image("one", &Image::new([lower(), Layer::new(sample::upper(), Compression::Zstd)]));
    let mut own = TarBuilder::new().dir("opt").file("opt/large", noise(1, 1_200_000));
    for n in 0..24_u64 {
        own = own.file(&format!("opt/{n}"), noise(n + 2, usize::try_from(n).unwrap() * 700));
    }
    layout.image("two", &Image::new([lower(), Layer::new(own.finish(), Compression::Gzip)]));
}

/// One operation.
pub(crate) struct Step {
    /// cfsctl's arguments.
    pub(crate) arguments: Vec<String>,
    /// Whether it may be refused when it was done already: a tag removed twice.
    once: bool,
}

/// Returns the digest of an image in the guest's layout.
fn digest_of(name: &str) -> String {
    let text = std::fs::read(Path::new(LAYOUT).join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let mut all = index["manifests"].as_array().unwrap().iter();
    let found = all.find(|one| one["annotations"]["org.opencontainers.image.ref.name"] == name).unwrap();
    found["digest"].as_str().unwrap().to_owned()
}

/// How many operations the series has.
pub(crate) const STEPS: usize = 11;

/// Returns the series, for a repository with or without fs-verity.
pub(crate) fn steps(verified: bool) -> Vec<Step> {
    let init: &[&str] = if verified { &["init"] } else { &["init", "--insecure"] };
    let two = digest_of("two");
    let algorithm = ["--algorithm", "fsverity-sha256-12"];
    let list: [(Vec<&str>, bool); STEPS] = [
        ([init, &algorithm].concat(), false),
        (vec!["oci", "pull", "oci:/layout:one", "one"], false),
        (vec!["oci", "pull", "oci:/layout:two", "two"], false),
        (vec!["oci", "seal", "one", "--name", "sealed"], false),
        (vec!["oci", "tag", &two, "other/name"], false),
        (vec!["oci", "pull", "oci:/layout:one", "other/name"], false),
        (vec!["create-image", LAYOUT, "made/of/files"], false),
        (vec!["oci", "untag", "two"], true),
        (vec!["gc"], false),
        (vec!["oci", "pull", "--no-image", "oci:/layout:two", "two"], false),
        (vec!["oci", "create-image", "two"], false),
    ];
    let owned = |arguments: Vec<&str>| arguments.into_iter().map(str::to_owned).collect();
    list.into_iter().map(|(arguments, once)| Step { arguments: owned(arguments), once }).collect()
}

impl Step {
    /// Does it.
    pub(crate) fn run(&self, repo: &Path) -> Output {
        cfsctl(repo, &self.arguments)
    }
}

fn cfsctl<A: AsRef<std::ffi::OsStr>>(repo: &Path, arguments: &[A]) -> Output {
    Command::new(CFSCTL)
        .args(["--progress=none", "--repo"])
        .arg(repo)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .unwrap()
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

impl Series {
    /// Says what is wrong with a repository if the power was cut when so many steps had been reported as done.
    pub(crate) fn check(&self, repo: &Path, done: usize, recovery: Recovery) -> Result<(), String> {
        let now = State::read(repo);
        let before = &self.states[done];
        let after = self.states.get(done + 1).unwrap_or(before);
        let names = |state: &State| state.filter(|path| !is_object(path));
        let strays = names(&now).strays(&names(before), &names(after));
        if !strays.is_empty() {
            return Err(format!("  what was left:\n{strays}"));
        }
        self.check_objects(&now, before, after)?;
        if now.is_repository() {
            if recovery == Recovery::CollectAndRepeat {
                wrong("gc", &cfsctl(repo, &["gc"]))?;
            }
            clean(repo)?;
            wrong("oci fsck", &cfsctl(repo, &["oci", "fsck"]))?;
            read_all(repo)?;
        }
        let Some(step) = self.steps.get(done) else { return Ok(()) };
        let again = step.run(repo);
        let end = State::read(repo);
        let difference = self.difference(&end, after, recovery);
        if !(step.once && difference.is_empty()) {
            wrong("repeated", &again)?;
        }
        if difference.is_empty() { clean(repo) } else { Err(format!("  repeated:\n{difference}")) }
    }

    /// Says in what a state differs from the one after the undisturbed operation.
    fn difference(&self, end: &State, after: &State, recovery: Recovery) -> String {
        if recovery == Recovery::CollectAndRepeat {
            // What nothing needed and was there undisturbed is not there now.
            let refs = |state: &State| state.filter(|path| path.contains("/refs/"));
            return refs(end).difference(&refs(after));
        }
        // Objects that were collected may be there again: that their names went was not durable, and need not be.
        let expected = end.filter(|path| !is_object(path) || after.has(path));
        expected.difference(&after.filter(|_| true)) + &end.unknown_to(&self.states)
    }

    /// Says what is wrong with the objects: all of them that were there and should stay are, and no other is, unless it
    /// was there once and its removal was not yet durable. Without fs-verity one that nothing names may be torn.
    fn check_objects(&self, now: &State, before: &State, after: &State) -> Result<(), String> {
        let objects = |state: &State| state.filter(is_object);
        let lost = before.filter(|path| is_object(path) && after.has(path)).files_other_than(now);
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

    /// Says in words what was being done.
    pub(crate) fn doing(&self, done: usize) -> String {
        self.steps.get(done).map_or_else(|| "nothing".to_owned(), |step| step.arguments.join(" "))
    }
}

fn clean(repo: &Path) -> Result<(), String> {
    wrong("fsck --deep", &cfsctl(repo, &["fsck", "--deep"]))
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
