//! All that a repository holds, and whether it lies between two others.
//!
//! For tests of what an operation that was cut short leaves: [`State::strays`] before it is repeated, and
//! [`State::difference`] after.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// Every path below a repository with what it is: a directory, a file and its size, a symlink and its target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(BTreeMap<String, String>);

impl State {
    /// Reads what there is, nothing if there is no repository.
    ///
    /// # Panics
    /// When something is there and cannot be looked at.
    #[must_use]
    pub fn read(repo: &Path) -> Self {
        let mut all = BTreeMap::new();
        let mut pending = vec![repo.to_owned()];
        while let Some(directory) = pending.pop() {
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                // When something was used last is written down if it can be, and missed by nobody.
                let below = path.strip_prefix(repo).unwrap();
                if [".cfs", ".cfs/gate"].iter().any(|path| below == Path::new(path))
                    || below.starts_with(".cfs/used")
                {
                    continue;
                }
                let metadata = path.symlink_metadata().unwrap();
                let mode = metadata.permissions().mode() & 0o7777;
                let what = if metadata.is_dir() {
                    pending.push(path.clone());
                    format!("directory {mode:o}")
                } else if metadata.is_symlink() {
                    format!("-> {}", fs::read_link(&path).unwrap().display())
                } else {
                    format!("file {mode:o} of {} bytes", metadata.len())
                };
                all.insert(path.strip_prefix(repo).unwrap().display().to_string(), what);
            }
        }
        Self(all)
    }

    /// Returns it as a JSON object, paths to what they are.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let pairs = self.0.iter().map(|(path, what)| (path.clone(), serde_json::Value::from(what.as_str())));
        serde_json::Value::Object(pairs.collect())
    }

    /// Reads what [`State::to_json`] returned.
    ///
    /// # Panics
    /// When it is something else.
    #[must_use]
    pub fn from_json(json: &serde_json::Value) -> Self {
        let text = |what: &serde_json::Value| what.as_str().unwrap().to_owned();
        Self(json.as_object().unwrap().iter().map(|(path, what)| (path.clone(), text(what))).collect())
    }

    /// Tells whether there is a repository at all.
    #[must_use]
    pub fn is_repository(&self) -> bool {
        self.0.contains_key("meta.json")
    }

    /// Tells whether something is at a path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Tells whether the same is at a path in both.
    #[must_use]
    pub fn agrees_with(&self, other: &Self, path: &str) -> bool {
        self.0.get(path) == other.0.get(path)
    }

    /// Returns the paths of temporaries.
    pub fn temporaries(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|path| is_temporary(path))
    }

    /// Returns what is neither a temporary nor excluded by `wanted`, which gets paths below the repository.
    #[must_use]
    pub fn filter(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let lasting = self.0.iter().filter(|(path, _)| !is_temporary(path) && wanted(path));
        Self(lasting.map(|(path, what)| (path.clone(), what.clone())).collect())
    }

    /// Names the paths at which something is that is at the same path in none of `others`.
    #[must_use]
    pub fn unknown_to(&self, others: &[Self]) -> String {
        let unknown = self.0.iter().filter(|(path, what)| {
            !is_temporary(path) && !others.iter().any(|other| other.0.get(*path) == Some(*what))
        });
        unknown.map(|(path, what)| format!("    {path}: {what}\n")).collect()
    }

    /// Says what differs from `other`, nothing if nothing does.
    #[must_use]
    pub fn difference(&self, other: &Self) -> String {
        let mut text = String::new();
        for path in self.paths(other) {
            let (here, there) = (self.0.get(path), other.0.get(path));
            if here != there {
                let _ = writeln!(text, "    {path}: {here:?} instead of {there:?}");
            }
        }
        text
    }

    /// Names the files and symlinks that `other` has not; directories stay empty.
    #[must_use]
    pub fn files_other_than(&self, other: &Self) -> String {
        let more = self
            .0
            .iter()
            .filter(|(path, what)| !what.starts_with("directory") && other.0.get(*path) != Some(*what));
        more.map(|(path, what)| format!("    {path}: {what}\n")).collect()
    }

    /// Says what an operation cut short has left that was neither before it nor would be after it: every name leads
    /// where it led or to where it should lead, and what both have is there.
    #[must_use]
    pub fn strays(&self, before: &Self, after: &Self) -> String {
        let mut text = String::new();
        let paths: BTreeSet<&str> = self.paths(before).into_iter().chain(self.paths(after)).collect();
        for path in paths {
            let now = self.0.get(path);
            if !is_temporary(path) && now != before.0.get(path) && now != after.0.get(path) {
                let _ = writeln!(text, "    {path}: {now:?} is neither of before nor of after");
            }
        }
        text
    }

    fn paths<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a str> {
        self.0.keys().chain(other.0.keys()).map(String::as_str).collect()
    }
}

fn is_temporary(path: &str) -> bool {
    path.starts_with(".symlink-") || path.starts_with(".meta-") || path.starts_with("objects/.tmp-object-")
}
