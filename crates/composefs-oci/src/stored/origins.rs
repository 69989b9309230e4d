//! Where images came from: each pull notes its reference beside the repository, for whoever mends the image later.
//!
//! Nothing depends on these notes: without one, a reference must be said.
//!
//! # Format
//! `docs/formats/oci.md`, section 11.

use composefs::repo::{Repository, Writer};

use crate::{digest::Digest, error::Error, ident, reference::Reference};

/// The directory of these notes below `.cfs/`.
const NOTES: &str = "origins";
/// The most references that are kept of a manifest.
const REFERENCES_MAX: usize = 8;
/// The most bytes of a note.
const NOTE_MAX: u64 = 64 << 10;

/// Returns the references a manifest or index was pulled from, the newest first; lines that mean nothing are left out.
///
/// # Errors
/// What reading gives.
pub fn of(repo: &Repository, digest: &Digest) -> Result<Vec<Reference>, Error> {
    Ok(parse(&repo.note(NOTES, digest.as_str(), NOTE_MAX)?.unwrap_or_default()))
}

/// Lists the manifests and indexes of which it is noted where they came from; none if that cannot be read.
pub(crate) fn all(repo: &Repository) -> Vec<Digest> {
    let names = repo.notes(NOTES).unwrap_or_else(|error| {
        tracing::debug!(%error, "notes of where images came from cannot be listed");
        Vec::new()
    });
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

fn parse(note: &[u8]) -> Vec<Reference> {
    let lines = note.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.filter_map(|line| line.parse().ok()).take(REFERENCES_MAX).collect()
}

/// Notes a reference that is [lasting](Reference::lasting); the next commit makes the note durable.
///
/// # Errors
/// What writing gives.
pub(crate) fn record(writer: &Writer, digest: &Digest, reference: &Reference) -> Result<(), Error> {
    let mut references = of(writer, digest).unwrap_or_else(|error| {
        tracing::debug!(%digest, %error, "the note of where it came from cannot be read, and is made anew");
        Vec::new()
    });
    references.retain(|known| known != reference);
    references.insert(0, reference.clone());
    references.truncate(REFERENCES_MAX);
    let mut note = String::new();
    for reference in references {
        let line = format!("{reference}\n");
        if note.len().saturating_add(line.len()) as u64 <= NOTE_MAX {
            note.push_str(&line);
        }
    }
    Ok(writer.put_note(NOTES, digest.as_str(), note.as_bytes())?)
}

/// Removes the notes of manifests and indexes that are not here any more; returns how many.
///
/// # Errors
/// What listing and removing give.
pub fn prune(repo: &Repository) -> Result<usize, Error> {
    repo.prune_notes(NOTES, |name| {
        let Ok(digest) = name.parse::<Digest>() else { return Ok(false) };
        let manifest = ident::manifest(&crate::digest::ManifestDigest::new(digest.clone()))?;
        Ok(repo.stream_entry(&manifest)?.is_some() || repo.stream_entry(&ident::index(&digest)?)?.is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_that_mean_nothing_are_none() {
        let note = b"docker://a.b/c:d\n\xff\nno transport in front: /x\n\noci:/e:f\n";
        let parsed: Vec<String> = parse(note).iter().map(ToString::to_string).collect();
        assert_eq!(parsed, ["docker://a.b/c:d", "oci:/e:f"]);
        assert_eq!(parse(&b"oci:/x\n".repeat(100)).len(), REFERENCES_MAX);
    }
}
