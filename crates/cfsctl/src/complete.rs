//! Completion by the program itself: `COMPLETE=bash cfsctl`.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{CommandFactory as _, Parser as _};
use clap_complete::{CompleteEnv, CompletionCandidate};
use composefs_oci::stored::tags;

use crate::{
    app::App,
    args::{Cli, Global},
};

/// Answers if a shell asks, and ends the program then.
pub(crate) fn answer_the_shell() {
    CompleteEnv::with_factory(Cli::command).complete();
}

/// Lists the tags that begin so; with `@`, the digests of manifests that have a tag. Whatever goes wrong, there are none.
pub(crate) fn tags(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(begin) = current.to_str() else { return Vec::new() };
    let Some(all) = repository(std::env::args_os()).and_then(|repo| tags::list(&repo).ok()) else {
        return Vec::new();
    };
    let mut found: Vec<(String, String)> = all
        .into_iter()
        .filter_map(|tag| {
            let manifest = tag.manifest?;
            Some(match begin.starts_with('@') {
                true => (format!("@{manifest}"), tag.name),
                false => (tag.name, manifest.to_string()),
            })
        })
        .filter(|(value, _)| value.starts_with(begin))
        .collect();
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    let candidate = |(value, help): (String, String)| CompletionCandidate::new(value).help(Some(help.into()));
    found.into_iter().map(candidate).collect()
}

/// Opens the repository that the words of an unfinished command line choose.
fn repository(words: impl Iterator<Item = OsString>) -> Option<composefs::repo::Repository> {
    let mut global = Global::parse_from_nothing();
    let mut words = words;
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--repo") => global.repo = words.next().map(PathBuf::from),
            Some("--user") => global.user = true,
            Some("--system") => global.system = true,
            Some(word) => {
                if let Some(path) = word.strip_prefix("--repo=") {
                    global.repo = Some(path.into());
                }
            }
            None => {}
        }
    }
    App::new(global).repository_if_any().ok().flatten()
}

impl Global {
    /// The options of a command line that has none.
    fn parse_from_nothing() -> Self {
        #[derive(clap::Parser)]
        struct Nothing {
            #[command(flatten)]
            global: Global,
        }
        Nothing::parse_from(["cfsctl"]).global
    }
}
