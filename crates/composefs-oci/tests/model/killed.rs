//! Processes that are killed in the middle: this test's own program once more, under strace.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Result, bail, ensure};
use composefs::{
    name::RefName,
    progress::Silent,
    repo::{GcOptions, GcPlan},
};
use composefs_oci::{
    ident,
    pull::{ImageBuild, Platforms, PullOptions, pull},
    rootfs::Rules,
    seal,
    stored::{StoredImage, tags},
    transport,
};
use composefs_testkit::{
    Sandbox,
    faults::{Fault, Faults, Point},
};

use crate::{
    expected::Model,
    family::{FAMILY, open, place},
    listing::Listing,
    reach::difference,
    step::Step,
    unreliable::Unreliable,
    world::{Did, SOON, World},
};

/// System calls that change names, make durable or lock, and some that write.
pub(crate) const CALLS: [&str; 9] =
    ["linkat", "symlinkat", "renameat", "unlinkat", "mkdirat", "fsync", "syncfs", "flock", "write"];

static KILLED: AtomicUsize = AtomicUsize::new(0);

/// How many processes were killed; without strace the one that was not is one, too.
pub(crate) fn killed_so_far() -> usize {
    KILLED.load(Ordering::Relaxed) + usize::from(FAULTS.is_none())
}

static FAULTS: LazyLock<Option<Faults>> = LazyLock::new(Faults::or_skip);

impl World {
    /// Does a step in a process that is killed at its so-manieth call of a name. What is left is what was before or
    /// what should be after, name by name.
    pub(crate) fn killed(&mut self, step: &Step, call: &str, nth: usize) -> Result<Did> {
        let Some(faults) = FAULTS.as_ref() else { return Ok(Did::default()) };
        let Some(words) = words(step, &self.model) else { return Ok(Did::default()) };
        self.leave();
        let sandbox = Sandbox::within(&place(), std::env::current_exe()?);
        let arguments = ["--exact", "killed::child", "--test-threads=1", "--nocapture"].map(str::to_owned);
        let own = [format!("repository={}", self.path.display())];
        let point = Point { name: call.to_owned(), nth };
        let traced =
            faults.inject(&sandbox, &point, Fault::Kill, arguments.into_iter().chain(own).chain(words));
        let code = traced.output.code();
        KILLED.fetch_add(usize::from(traced.killed()), Ordering::Relaxed);
        ensure!(traced.killed() || code == 0 || (self.damaged && code == 101), "{}", traced.output);
        let mut new = self.model.after(step);
        if code != 0 {
            // A tag that moved may have done so to what was there without an image.
            for (tag, tagged) in &mut new.tags {
                tagged.built &= self.model.tags.get(tag) == Some(tagged);
            }
        }
        self.adopt(&new, code == 0)?;
        Ok(Did { swept: matches!(step, Step::Collect), ..Did::default() })
    }

    /// Takes over what is there, which must be of the model as it was or of `new`; of `new` alone if that is `done`.
    fn adopt(&mut self, new: &Model, done: bool) -> Result<()> {
        let actual = Listing::read(&self.path).refs;
        let (old, wanted) = (self.model.refs(self.kind), new.refs(self.kind));
        let names = old.keys().chain(wanted.keys()).chain(actual.keys());
        let is_new: BTreeMap<&String, bool> = names
            .map(|name| {
                let have = actual.get(name);
                let is_new = have == wanted.get(name);
                // An artifact may be kept by what keeps its subject without a tag.
                let done = done && !name.contains("/oci-referrers/");
                if !is_new && (done || have != old.get(name)) {
                    bail!("{name} is neither as before nor as after:{}", difference(&actual, &wanted));
                }
                Ok((name, is_new))
            })
            .collect::<Result<_>>()?;
        self.model = self.model.mixed(new, |name| is_new.get(&name).copied().unwrap_or(true));
        Ok(())
    }
}

/// Does a step as another process of ours does; tells whether there was something to do.
pub(crate) fn beside(repository: &Path, step: &Step, model: &Model) -> Result<bool> {
    let Some(mut words) = words(step, model) else { return Ok(false) };
    words.push(format!("repository={}", repository.display()));
    act(&words).map(|()| true)
}

/// What the child is told; `None` if there is nothing to do.
fn words(step: &Step, model: &Model) -> Option<Vec<String>> {
    let list =
        |words: &[(&str, String)]| Some(words.iter().map(|(key, value)| format!("{key}={value}")).collect());
    match step {
        Step::Pull(pull) => list(&[
            ("do", "pull".to_owned()),
            ("reference", pull.of.reference()),
            ("platform", pull.of.platform().to_owned()),
            ("tag", pull.tag.map(String::from).unwrap_or_default()),
            ("all", pull.all.to_string()),
            ("skip", pull.skip.to_string()),
            ("jobs", pull.jobs.to_string()),
            ("remote", pull.remote.to_string()),
        ]),
        Step::Tag { from, to } => {
            let digest = FAMILY.manifest(model.tags.get(from)?.image);
            list(&[("do", "tag".to_owned()), ("digest", digest.to_owned()), ("tag", to.to_string())])
        }
        Step::Untag(tag) => {
            model.tags.get(tag)?;
            list(&[("do", "untag".to_owned()), ("tag", tag.to_string())])
        }
        Step::Seal { tag, name: Some(name) } if model.tags.get(tag)?.image.is_container() => {
            list(&[("do", "seal".to_owned()), ("tag", tag.to_string()), ("name", name.to_string())])
        }
        Step::Collect => list(&[("do", "collect".to_owned())]),
        _ => None,
    }
}

/// Does what its arguments say, if they say something.
#[test]
fn child() {
    let arguments: Vec<String> = std::env::args().filter(|argument| argument.contains('=')).collect();
    if arguments.iter().any(|argument| argument.starts_with("do=")) {
        act(&arguments).unwrap();
    }
}

/// Does what `arguments` say, as another process does.
fn act(arguments: &[String]) -> Result<()> {
    let given = |key: &str| {
        let value = arguments.iter().find_map(|argument| argument.strip_prefix(key)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("{key} is not said"))
    };
    let repository = open(Path::new(given("repository")));
    if given("do") == "collect" {
        let plan = GcPlan::new(&repository, &GcOptions::default())?;
        let _ = plan.apply(&repository.sweeper(SOON)?, &Silent)?;
        return Ok(());
    }
    let writer = repository.into_writer()?;
    match given("do") {
        "pull" => {
            let inner = transport::open(&given("reference").parse()?, &transport::SourceOptions::default())?;
            let source = Unreliable::new(inner, None, given("remote") == "true", &|_| {});
            let mut options = PullOptions::default()
                .platform(given("platform").parse()?)
                .platforms(if given("all") == "true" { Platforms::All } else { Platforms::One })
                .image(if given("skip") == "true" { ImageBuild::Skip } else { ImageBuild::Build })
                .jobs(given("jobs").parse()?);
            options.tag = Some(given("tag").to_owned()).filter(|tag| !tag.is_empty());
            pull(&writer, &source, &options, &Silent)?;
        }
        "tag" => tags::set(&writer, given("tag"), &given("digest").parse()?)?,
        "untag" => tags::remove(&writer, given("tag"))?,
        "seal" => {
            let stored = StoredImage::open_tag(&writer, given("tag"))?;
            let sealed = seal::seal(&writer, stored.config(), Rules::Current, &Silent)?;
            let mut commit = writer.begin();
            let name = RefName::new(format!("sealed/{}", given("name")))?;
            commit.stream_ref(name, &ident::config(&sealed.config)?);
            commit.finish()?;
        }
        other => bail!("cannot {other}"),
    }
    Ok(())
}
