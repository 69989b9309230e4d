//! Images in an archive that is written from its beginning to its end, so that a pipe can take it.
//!
//! What will be in it is known before the first byte. The same images give the same archive.
//!
//! # Format
//! `docs/formats/transports.md`, sections 1 and 11.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write},
};

use composefs::{
    progress::{Event, Observer},
    repo::Repository,
};
use composefs_tar::build::HeaderBuilder;
use oci_spec::image::Descriptor;
use serde_json::json;

use crate::{
    decompress::BUFFER,
    digest::{Digest, VerifyingReader},
    error::{Error, Step},
    find::Name,
    model::{Manifest, edit::IndexEdit, media_type},
    reference::RegistryReference,
    stoppable::Stoppable,
    transport::{Root, Source as _, digest_of, select::REF_NAME},
};

use super::{ExportOptions, ExportedImage, Packing, StoredSource, known};

const BLOCK: u64 = 512;
/// What an image is called where containerd looks.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const MARKER: &str = "{\"imageLayoutVersion\":\"1.0.0\"}";
/// What the archive is called in errors.
const PLACE: &str = "the archive";

/// The form of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArchiveForm {
    /// An OCI layout in a tar.
    #[default]
    Oci,
    /// What `docker save` writes; layers are tars.
    Docker,
}

/// An image in an archive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SavedImage {
    /// As whom it was asked for.
    pub name: Name,
    /// What it is called in the archive, if it has a name there.
    pub called: Option<String>,
    /// What of it there is.
    pub image: ExportedImage,
}

/// Writes images into an archive.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotAContainer`] for an artifact in Docker's form, [`Error::BlobMismatch`] for a layer that
/// is damaged here; [`Error::Source`] if `out` does not take it. Part of the archive is written then.
pub fn save(
    repo: &Repository,
    names: &[Name],
    form: ArchiveForm,
    options: &ExportOptions,
    out: &mut dyn Write,
    observer: &dyn Observer,
) -> Result<Vec<SavedImage>, Error> {
    let packing = if form == ArchiveForm::Docker { Packing::Plain } else { options.packing };
    let options = options.clone().packing(packing).all(false);
    let mut saving = Saving { images: Vec::new(), members: BTreeMap::new() };
    for name in names {
        // What is noted would be packed in any case.
        let source = StoredSource::open(repo, name, &options, known::Use::Renew, observer)?;
        saving.add(name, source, form)?;
    }
    let mut tar = Tar { out, buffer: vec![0; BUFFER] };
    match form {
        ArchiveForm::Oci => saving.write_layout(&mut tar, &options, observer)?,
        ArchiveForm::Docker => saving.write_docker(&mut tar, &options, observer)?,
    }
    Ok(saving.images.into_iter().map(|image| image.saved).collect())
}

struct Saving<'o> {
    images: Vec<Image<'o>>,
    /// What every blob is, and whose source has it.
    members: BTreeMap<Digest, (Descriptor, usize)>,
}

struct Image<'o> {
    saved: SavedImage,
    source: StoredSource<'o>,
    root: Root,
}

impl<'o> Saving<'o> {
    fn add(&mut self, name: &Name, source: StoredSource<'o>, form: ArchiveForm) -> Result<(), Error> {
        let root = source.root()?;
        let manifest =
            Manifest::parse(root.bytes.clone()).map_err(|source| Error::model(&root.digest, source))?;
        if form == ArchiveForm::Docker && !manifest.is_container() {
            return Err(Error::NotAContainer(name.to_string()));
        }
        let blobs = manifest.layers().iter().chain([manifest.parsed().config()]);
        for blob in blobs {
            self.members.entry(digest_of(blob)?).or_insert_with(|| (blob.clone(), self.images.len()));
        }
        let image = source.images().first().cloned().ok_or_else(|| Error::NotFound(name.to_string()))?;
        let called = called(name, form);
        self.images.push(Image { saved: SavedImage { name: name.clone(), called, image }, source, root });
        Ok(())
    }

    fn write_layout(
        &self,
        tar: &mut Tar<'_>,
        options: &ExportOptions,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        tar.member("oci-layout", MARKER.as_bytes())?;
        tar.member("index.json", &self.index()?)?;
        let mut documents: BTreeMap<&Digest, &[u8]> = BTreeMap::new();
        for image in &self.images {
            documents.insert(&image.root.digest, &image.root.bytes);
        }
        tar.directory("blobs/")?;
        let mut algorithms: Vec<&str> =
            documents.keys().copied().chain(self.members.keys()).map(Digest::algorithm).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        for algorithm in algorithms {
            tar.directory(&format!("blobs/{algorithm}/"))?;
        }
        for (digest, bytes) in documents {
            tar.member(&format!("blobs/{}/{}", digest.algorithm(), digest.encoded()), bytes)?;
        }
        for digest in self.members.keys() {
            let name = format!("blobs/{}/{}", digest.algorithm(), digest.encoded());
            self.write_blob(digest, &name, tar, options, observer)?;
        }
        tar.end()
    }

    fn index(&self) -> Result<Vec<u8>, Error> {
        let wrong = |source| Error::model(PLACE, source);
        let mut index = IndexEdit::of(None).map_err(wrong)?;
        let entries = index.entries().map_err(wrong)?;
        for Image { saved, root, .. } in &self.images {
            let mut entry = crate::model::edit::entry(&root.media_type, &root.digest, root.bytes.len());
            if let Some(called) = &saved.called {
                let mut annotations = serde_json::Map::new();
                annotations.insert(REF_NAME.to_owned(), json!(called));
                if let Some(full) = full_name(called) {
                    annotations.insert(CONTAINERD_NAME.to_owned(), json!(full));
                }
                entry.insert("annotations".to_owned(), annotations.into());
            }
            entries.push(entry.into());
        }
        index.into_bytes("index.json").map_err(wrong)
    }

    fn write_docker(
        &self,
        tar: &mut Tar<'_>,
        options: &ExportOptions,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        // One image under several names is one.
        let mut listed: Vec<(&ExportedImage, Vec<&str>)> = Vec::new();
        for Image { saved, .. } in &self.images {
            let names = saved.called.as_deref();
            match listed.iter_mut().find(|(image, _)| image.config == saved.image.config) {
                Some((_, all)) => all.extend(names.filter(|name| !all.contains(name))),
                None => listed.push((&saved.image, names.into_iter().collect())),
            }
        }
        let listing: Vec<_> = listed
            .iter()
            .map(|(image, names)| {
                let layers: Vec<String> =
                    image.layers.iter().map(|layer| layer_name(&layer.digest)).collect();
                json!({"Config": config_name(image.config.digest()), "RepoTags": names, "Layers": layers})
            })
            .collect();
        tar.member("manifest.json", json!(listing).to_string().as_bytes())?;
        for (digest, (descriptor, _)) in &self.members {
            let name = match media_type::is_image_config(descriptor.media_type().as_ref()) {
                true => config_name(digest),
                false => layer_name(digest),
            };
            self.write_blob(digest, &name, tar, options, observer)?;
        }
        tar.end()
    }

    fn write_blob(
        &self,
        digest: &Digest,
        name: &str,
        tar: &mut Tar<'_>,
        options: &ExportOptions,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let missing = || Error::BlobMissing { digest: digest.clone(), place: PLACE.to_owned() };
        let (descriptor, at) = self.members.get(digest).ok_or_else(missing)?;
        let source = &self.images.get(*at).ok_or_else(missing)?.source;
        let what =
            if media_type::is_image_config(descriptor.media_type().as_ref()) { "config" } else { "layer" };
        let said = digest.as_str();
        observer.event(&Event::Begin { what, name: said, total: Some(descriptor.size()) });
        let reader = Stoppable::new(source.blob(descriptor)?, &options.cancel);
        let mut reader = VerifyingReader::new(reader, digest, Some(descriptor.size()))
            .map_err(|fault| Error::blob(digest, fault))?;
        tar.header(HeaderBuilder::new(b'0').name(name.as_bytes()).size(descriptor.size()))?;
        loop {
            let got = reader.read(&mut tar.buffer).map_err(|error| match options.cancel.is_cancelled() {
                true => Error::Cancelled { kept: 0 },
                false => Error::blob_io(digest, error),
            })?;
            if got == 0 {
                break;
            }
            tar.out.write_all(tar.buffer.get(..got).unwrap_or_default()).map_err(write_error)?;
            observer.event(&Event::Advance { name: said, by: got as u64 });
        }
        tar.pad(descriptor.size())?;
        observer.event(&Event::Done { name: said });
        Ok(())
    }
}

fn config_name(digest: &Digest) -> String {
    format!("{}.json", digest.encoded())
}

fn layer_name(digest: &Digest) -> String {
    format!("{}.tar", digest.encoded())
}

/// Returns what an image is called in an archive: its tag, in Docker's form as Docker writes names.
fn called(name: &Name, form: ArchiveForm) -> Option<String> {
    let Name::Text(tag) = name else { return None };
    let tag = tag.strip_prefix("docker://").unwrap_or(tag);
    match form {
        ArchiveForm::Oci => Some(tag.to_owned()),
        ArchiveForm::Docker => {
            // Only what can be a name there, and has a tag.
            full_name(tag)?;
            let last = tag.rsplit('/').next().unwrap_or(tag);
            let bare = tag.split_once('@').map_or(tag, |(bare, _)| bare);
            Some(if last.contains(':') { bare.to_owned() } else { format!("{bare}:latest") })
        }
    }
}

/// Returns a name written out, with its registry; `None` for what cannot be one.
fn full_name(text: &str) -> Option<String> {
    let name: RegistryReference = text.parse().ok()?;
    // One by digest has no tag.
    name.digest().is_none().then(|| format!("{}:{}", name.name(), name.wanted()))
}

fn write_error(source: io::Error) -> Error {
    Error::source(Step::Write, PLACE, source)
}

/// A tar as it goes out.
struct Tar<'a> {
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
}

impl Tar<'_> {
    fn header(&mut self, header: HeaderBuilder) -> Result<(), Error> {
        self.out.write_all(&header.build()[..]).map_err(write_error)
    }

    fn directory(&mut self, name: &str) -> Result<(), Error> {
        self.header(HeaderBuilder::new(b'5').name(name.as_bytes()).mode(0o755))
    }

    fn member(&mut self, name: &str, contents: &[u8]) -> Result<(), Error> {
        let size = contents.len() as u64;
        self.header(HeaderBuilder::new(b'0').name(name.as_bytes()).size(size))?;
        self.out.write_all(contents).map_err(write_error)?;
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> Result<(), Error> {
        let zeros = [0; BLOCK as usize];
        let rest = usize::try_from(size.next_multiple_of(BLOCK).saturating_sub(size)).unwrap_or_default();
        self.out.write_all(zeros.get(..rest).unwrap_or_default()).map_err(write_error)
    }

    fn end(&mut self) -> Result<(), Error> {
        self.out.write_all(&[0; 2 * BLOCK as usize]).and_then(|()| self.out.flush()).map_err(write_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_archives() {
        let of = |name: &str, form| called(&name.parse().unwrap(), form);
        let digest = format!("@sha256:{}", "0".repeat(64));
        for (name, oci, docker) in [
            ("debian:12", Some("debian:12"), Some("debian:12")),
            ("debian", Some("debian"), Some("debian:latest")),
            ("docker://a.b:5000/c/d", Some("a.b:5000/c/d"), Some("a.b:5000/c/d:latest")),
            ("oci:dir:x", Some("oci:dir:x"), None),
            ("A Name", Some("A Name"), None),
            (&*digest, None, None),
        ] {
            assert_eq!(of(name, ArchiveForm::Oci).as_deref(), oci, "{name}");
            assert_eq!(of(name, ArchiveForm::Docker).as_deref(), docker, "{name}");
        }
        assert_eq!(full_name("debian:12").as_deref(), Some("docker.io/library/debian:12"));
        assert_eq!(full_name(&format!("debian{digest}")), None);
    }
}
