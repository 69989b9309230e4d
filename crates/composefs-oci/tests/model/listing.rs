//! What lies in a repository, by names, read with nothing of the library's.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Names and objects at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Objects by their ids in hex.
    pub(crate) objects: BTreeSet<String>,
    /// Entries of both categories, `streams/NAME` and `images/ID`, and the ids of their objects.
    pub(crate) entries: BTreeMap<String, String>,
    /// Refs, `streams/refs/…` and `images/refs/…`, and the names of their entries.
    pub(crate) refs: BTreeMap<String, String>,
    /// Refs by which pulls keep what has come, in progress or dead.
    pub(crate) pulls: BTreeSet<String>,
}

impl Listing {
    pub(crate) fn read(repository: &Path) -> Self {
        let mut listing = Self::default();
        for prefix in names(&repository.join("objects")) {
            for rest in names(&repository.join("objects").join(&prefix)) {
                listing.objects.insert(format!("{prefix}{rest}"));
            }
        }
        let mut pending = vec!["streams".to_owned(), "images".to_owned()];
        while let Some(directory) = pending.pop() {
            for name in names(&repository.join(&directory)) {
                let path = format!("{directory}/{name}");
                match std::fs::read_link(repository.join(&path)) {
                    Ok(_) if path.contains("/refs/x-pulls/") => {
                        listing.pulls.insert(path);
                    }
                    Ok(target) if path.contains("/refs/") => {
                        listing.refs.insert(path, target.file_name().unwrap().to_str().unwrap().to_owned());
                    }
                    Ok(target) => {
                        let id =
                            target.to_str().unwrap().strip_prefix("../objects/").unwrap().replace('/', "");
                        listing.entries.insert(path, id);
                    }
                    Err(_) => pending.push(path),
                }
            }
        }
        listing
    }
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
