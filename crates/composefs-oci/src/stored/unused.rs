//! Images in the order in which they were used, for making a store fit.

use std::{collections::BTreeMap, time::SystemTime};

use composefs::{
    digest::ObjectId,
    error::Category,
    name::{RefName, decode_component},
    repo::{Candidate, Repository},
};

use crate::{error::Error, ident};

use super::StoredImage;

/// Whether images with a tag may go, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Named {
    /// They stay.
    #[default]
    Stay,
    /// They may go, after all others.
    MayGo,
}

/// Lists the images that may go, the least recently used first, those with tags last.
///
/// Used means: pulled, tagged or mounted by us; at least, it is when the image's entry or a tag was made.
///
/// # Errors
/// What reading the names gives, and the images that have a tag.
pub fn least_recently_used(repo: &Repository, named: Named) -> Result<Vec<Candidate>, Error> {
    let uses = repo.last_uses();
    let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, target) in repo.refs(Category::Streams, ident::TAGS)? {
        tags.entry(target).or_default().push(name);
    }
    let mut candidates = Vec::new();
    for (stream, _) in repo.stream_entries()? {
        let Some(digest) = ident::parse_manifest(stream.as_str()) else { continue };
        let tags = tags.remove(stream.as_str()).unwrap_or_default();
        if !tags.is_empty() && named == Named::Stay {
            continue;
        }
        let images: Vec<ObjectId> = match StoredImage::open(repo, &digest) {
            Ok(image) => {
                let refs = image.config().refs().iter();
                refs.filter(|(key, _)| ident::is_image_key(key)).map(|(_, id)| *id).collect()
            }
            // Nobody may say that it is not in use.
            Err(error) if !tags.is_empty() => return Err(error),
            Err(_) => continue,
        };
        let mut used = repo.entry_time(Category::Streams, stream.as_str())?;
        let mut refs = Vec::new();
        for tag in &tags {
            for directory in [ident::TAGS, ident::INDEXES] {
                let Ok(name) = RefName::new(format!("{directory}/{tag}")) else { continue };
                match repo.read_ref(Category::Streams, &name) {
                    Ok(Some(target)) => {
                        used = used.max(repo.ref_time(Category::Streams, &name)?);
                        refs.push((name.as_str().to_owned(), target));
                    }
                    Ok(None) | Err(composefs::Error::BadLink { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        used = used.max(uses.get(stream.as_str()).copied());
        for image in &images {
            used = used.max(uses.get(&image.to_hex()).copied());
        }
        let names: Vec<String> = tags.iter().map(|tag| decode_component(tag)).collect();
        let name = if names.is_empty() { digest.to_string() } else { names.join(", ") };
        let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
        candidates.push(Candidate { name, stream: stream.as_str().to_owned(), refs, images, used });
    }
    candidates
        .sort_by(|a, b| (!a.refs.is_empty(), a.used, &a.name).cmp(&(!b.refs.is_empty(), b.used, &b.name)));
    Ok(candidates)
}
