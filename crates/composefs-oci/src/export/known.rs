//! What layers pack to: a note beside the repository for each layer that was packed, so that it need not be packed
//! again only to find out that the other side has it.
//!
//! Nothing depends on these notes, and none is believed in the end: what is sent has the digest it is sent under.
//!
//! # Format
//! `docs/formats/oci.md`, section 12.

use composefs::repo::Repository;

use crate::{
    digest::{DiffId, Digest},
    error::Error,
    ident,
};

use super::options::Setting;

/// The directory of these notes below `.cfs/`.
const NOTES: &str = "packed";
/// The most settings that are kept of a layer.
const SETTINGS_MAX: usize = 16;
/// The most bytes of a note.
const NOTE_MAX: u64 = 16 << 10;

/// Whether notes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// They do.
    Believe,
    /// They are made anew.
    Renew,
}

/// A packed layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// Returns what is noted of a layer packed so.
pub(super) fn of(repo: &Repository, layer: &DiffId, setting: Setting) -> Option<Known> {
    let note = repo.note(NOTES, layer.as_str(), NOTE_MAX).ok().flatten()?;
    let name = setting.to_string();
    parse(&note).into_iter().find(|(known, _)| *known == name).map(|(_, known)| known)
}

fn parse(note: &[u8]) -> Vec<(String, Known)> {
    let line = |line: &[u8]| {
        let mut words = std::str::from_utf8(line).ok()?.split(' ');
        let (setting, digest, size) = (words.next()?, words.next()?, words.next()?);
        let known = Known { digest: digest.parse().ok()?, size: size.parse().ok()? };
        words.next().is_none().then(|| (setting.to_owned(), known))
    };
    note.split(|byte| *byte == b'\n').filter_map(line).take(SETTINGS_MAX).collect()
}

/// Notes what a layer packs to, where the repository can be written to; where not, nobody misses it.
pub(super) fn record(repo: &Repository, layer: &DiffId, setting: Setting, known: &Known) {
    // A note is no reason to upgrade an old repository.
    if repo.is_old() {
        return;
    }
    let name = setting.to_string();
    let mut all = repo
        .note(NOTES, layer.as_str(), NOTE_MAX)
        .ok()
        .flatten()
        .map(|note| parse(&note))
        .unwrap_or_default();
    all.retain(|(there, _)| *there != name);
    all.insert(0, (name, known.clone()));
    all.truncate(SETTINGS_MAX);
    let lines: String =
        all.iter().map(|(name, known)| format!("{name} {} {}\n", known.digest, known.size)).collect();
    let put = repo.writer().and_then(|writer| writer.put_note(NOTES, layer.as_str(), lines.as_bytes()));
    if let Err(error) = put {
        tracing::debug!(%layer, %error, "what it packs to is not noted");
    }
}

/// Removes the notes of layers that are not here any more; returns how many.
///
/// # Errors
/// What listing and removing give.
pub fn prune(repo: &Repository) -> Result<usize, Error> {
    repo.prune_notes(NOTES, |name| match name.parse::<Digest>() {
        Ok(digest) => Ok(repo.stream_entry(&ident::layer(&DiffId::new(digest))?)?.is_some()),
        Err(_) => Ok(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_mean_nothing_are_none() {
        let digest = Digest::sha256(b"x");
        let note = format!(
            "gzip-6-1 {digest} 7\ngzip-6-1\n\nzstd-3-1 {digest} x\nzstd-3-1 {digest} 9 more\na {digest} 1\n"
        );
        let parsed = parse(note.as_bytes());
        let names: Vec<&str> = parsed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["gzip-6-1", "a"]);
        assert_eq!(parsed[0].1, Known { digest, size: 7 });
        assert_eq!(parse(&note.repeat(100).into_bytes()).len(), SETTINGS_MAX);
    }
}
