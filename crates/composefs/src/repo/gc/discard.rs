//! Removing what is damaged and nothing needs: a repair has no use for it, and a check would find it for ever.

use std::collections::{BTreeSet, HashSet};

use super::{
    Choice, Garbage, GcOptions, Names, Now, RefLink, Unreadable, layout, path_text, referrer,
    sweep::{remove_objects, remove_paths},
};
use crate::{
    digest::ObjectId,
    error::{Category, Result},
    progress::Observer,
    repo::{Sweeper, reach::Reach},
};

/// What was removed of what is damaged.
#[derive(Debug, Default)]
pub struct Discarded {
    /// Paths below the repository, names first.
    pub paths: Vec<String>,
    /// What is reachable and cannot be read; nothing was removed then.
    pub unreadable: Vec<Unreadable>,
}

impl Sweeper {
    /// Removes those of the damaged objects that nothing reachable needs, and before them the entries that lead to these
    /// or to nothing and that no ref needs.
    ///
    /// While something reachable cannot be read, or a ref leads nowhere, nothing is removed: nobody knows what that
    /// needs, and what is lost of it may yet come back. A collection settles it.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io). What was removed before the error was of no use.
    pub fn discard(&self, damaged: &BTreeSet<ObjectId>, observer: &dyn Observer) -> Result<Discarded> {
        let now = Now::read(self, None)?;
        let names = Names::read(self)?;
        let mut reach = Reach::default();
        names.mark(self, &GcOptions::default(), &now, &Choice::default(), &mut reach);
        if !reach.unreadable().is_empty() || self.has_lost_names(&names, &now)? {
            return Ok(Discarded { paths: Vec::new(), unreadable: reach.take_unreadable() });
        }
        let mut entries = Vec::new();
        let mut gone = HashSet::new();
        for category in Category::ALL {
            for entry in names.entries(category) {
                let (Ok(id), Some(_)) = (&entry.target, entry.name_str()) else { continue };
                if !reach.is_live(id) && (damaged.contains(id) || !self.has_object(id)?) {
                    entries.push(path_text(category.directory(), &entry.name));
                    gone.insert((category, entry.name.as_slice()));
                }
            }
        }
        // The only refs to what is not live: artifacts whose subject is not kept.
        let leads_to_none = |link: &&RefLink| {
            referrer(Category::Streams, link).is_some()
                && link.target.as_ref().is_ok_and(|to| gone.contains(&(Category::Streams, to.as_bytes())))
        };
        let refs = format!("{}/{}", Category::Streams.directory(), layout::REFS);
        let refs: Vec<String> =
            names.stream_refs.iter().filter(leads_to_none).map(|link| path_text(&refs, &link.name)).collect();
        let mut objects = Vec::new();
        for id in damaged {
            if !reach.is_live(id) && self.has_object(id)? {
                objects.push(Garbage { id: *id, size: self.object_size(id)? });
            }
        }
        let mut removed = [refs.as_slice(), &entries].concat();
        removed.extend(objects.iter().map(|garbage| crate::repo::layout::object_path(&garbage.id)));
        remove_paths(self, refs)?;
        remove_paths(self, entries)?;
        remove_objects(self, &objects, observer)?;
        Ok(Discarded { paths: removed, unreadable: Vec::new() })
    }

    /// Tells whether a ref leads to no entry, or to one without its object.
    fn has_lost_names(&self, names: &Names, now: &Now) -> Result<bool> {
        for category in Category::ALL {
            for link in names.refs(category).iter().filter(|link| !now.is_stale(category, link)) {
                let Ok(target) = &link.target else { continue };
                let leads_on = match names.entry(category, target).map(|entry| &entry.target) {
                    Some(Ok(id)) => self.has_object(id)?,
                    Some(Err(_)) => true,
                    None => false,
                };
                if !leads_on {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
