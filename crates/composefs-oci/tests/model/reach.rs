//! What the names of a repository need, once more: by the chapter on repositories, section 7, and not by the library's
//! walk.

use std::collections::{BTreeMap, BTreeSet};

use composefs::{
    digest::{Algorithm, ObjectId},
    repo::Repository,
};

use crate::listing::Listing;

/// What some roots need.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// The objects, by their ids in hex, those that are lost among them.
    pub(crate) objects: BTreeSet<String>,
    /// What cannot be read, so that nobody knows what it needs.
    pub(crate) unreadable: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Stream,
    Image,
    Unknown,
}

/// Walks from the entries that `roots` name, `streams/NAME` or `images/ID`.
pub(crate) fn reach<'a>(
    repo: &Repository,
    listing: &Listing,
    roots: impl IntoIterator<Item = &'a str>,
) -> Reach {
    let algorithm: Algorithm = repo.algorithm();
    let mut pending: Vec<(What, ObjectId)> = roots
        .into_iter()
        .filter_map(|root| {
            let what = if root.starts_with("images/") { What::Image } else { What::Stream };
            Some((what, ObjectId::from_hex(algorithm, listing.entries.get(root)?.as_bytes()).unwrap()))
        })
        .collect();
    let mut reach = Reach::default();
    let mut seen = BTreeSet::new();
    while let Some((what, id)) = pending.pop() {
        reach.objects.insert(id.to_hex());
        if !seen.insert((what, id)) {
            continue;
        }
        let walked = match what {
            What::Image => walk_image(repo, &id, &mut reach),
            What::Stream => walk_stream(repo, &id, &mut reach, &mut pending),
            // What is no stream needs nothing; of what is not whole nobody knows what it was.
            What::Unknown if repo.check_object(&id).is_ok() && repo.open_stream(&id).is_err() => Ok(()),
            What::Unknown => walk_stream(repo, &id, &mut reach, &mut pending),
        };
        if walked.is_err() {
            reach.unreadable.insert(id.to_hex());
        }
    }
    reach
}

fn walk_image(repo: &Repository, id: &ObjectId, reach: &mut Reach) -> anyhow::Result<()> {
    reach.objects.extend(repo.image_objects(id)?.iter().map(ObjectId::to_hex));
    Ok(())
}

fn walk_stream(
    repo: &Repository,
    id: &ObjectId,
    reach: &mut Reach,
    pending: &mut Vec<(What, ObjectId)>,
) -> anyhow::Result<()> {
    repo.check_object(id)?;
    let stream = repo.open_stream(id)?;
    reach.objects.extend(stream.object_refs().iter().map(|id| id.to_hex()));
    for (key, id) in stream.named_refs() {
        pending.push((if key.starts_with("composefs.image") { What::Image } else { What::Unknown }, id));
    }
    Ok(())
}

/// The entries that refs lead to, as [`reach`] takes them: of a category's refs to that category's entries.
pub(crate) fn roots<'a>(refs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Vec<String> {
    refs.into_iter().map(|(name, entry)| format!("{}/{entry}", name.split('/').next().unwrap())).collect()
}

/// Splits refs by what they are for, for messages.
pub(crate) fn difference(have: &BTreeMap<String, String>, want: &BTreeMap<String, String>) -> String {
    let names: BTreeSet<&String> = have.keys().chain(want.keys()).collect();
    let differ = names.into_iter().filter(|name| have.get(*name) != want.get(*name));
    differ
        .map(|name| format!("\n  {name}: {:?}, and should be {:?}", have.get(name), want.get(name)))
        .collect()
}
