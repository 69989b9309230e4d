//! What a registry holds.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) bytes: Arc<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Repository {
    manifests: BTreeMap<String, Manifest>,
    tags: BTreeMap<String, String>,
    blobs: BTreeSet<String>,
}

/// An upload that was begun.
#[derive(Debug, Default)]
pub(super) struct Upload {
    pub(super) repository: String,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    repositories: BTreeMap<String, Repository>,
    /// A blob may be different ones in different repositories: then a test lies on purpose.
    blobs: HashMap<(String, String), Arc<Vec<u8>>>,
    pub(super) uploads: HashMap<String, Upload>,
    next_upload: u64,
    /// Addresses of blobs in the storage: what they lead to, and whether they work once.
    grants: HashMap<String, (Arc<Vec<u8>>, bool)>,
    next_grant: u64,
}

impl Store {
    fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        self.repositories.contains_key(name)
    }

    pub(super) fn put_blob(&mut self, name: &str, digest: &str, bytes: Arc<Vec<u8>>) {
        self.repository(name).blobs.insert(digest.to_owned());
        self.blobs.insert((name.to_owned(), digest.to_owned()), bytes);
    }

    pub(super) fn blob(&self, name: &str, digest: &str) -> Option<Arc<Vec<u8>>> {
        self.blobs.get(&(name.to_owned(), digest.to_owned())).cloned()
    }

    pub(super) fn remove_blob(&mut self, name: &str, digest: &str) -> bool {
        self.repository(name).blobs.remove(digest);
        self.blobs.remove(&(name.to_owned(), digest.to_owned())).is_some()
    }

    pub(super) fn put_manifest(&mut self, name: &str, digest: &str, media_type: &str, bytes: Vec<u8>) {
        let manifest = Manifest { media_type: media_type.to_owned(), bytes: Arc::new(bytes) };
        self.repository(name).manifests.insert(digest.to_owned(), manifest);
    }

    pub(super) fn put_tag(&mut self, name: &str, tag: &str, digest: &str) {
        self.repository(name).tags.insert(tag.to_owned(), digest.to_owned());
    }

    /// A manifest by tag or digest, and its digest.
    pub(super) fn manifest(&self, name: &str, reference: &str) -> Option<(String, &Manifest)> {
        let repository = self.repositories.get(name)?;
        let digest = match reference.contains(':') {
            true => reference,
            false => repository.tags.get(reference)?,
        };
        Some((digest.to_owned(), repository.manifests.get(digest)?))
    }

    pub(super) fn remove_manifest(&mut self, name: &str, reference: &str) -> bool {
        let repository = self.repository(name);
        if !reference.contains(':') {
            return repository.tags.remove(reference).is_some();
        }
        repository.tags.retain(|_, digest| digest != reference);
        repository.manifests.remove(reference).is_some()
    }

    pub(super) fn tags(&self, name: &str) -> Vec<String> {
        self.repositories.get(name).map(|found| found.tags.keys().cloned().collect()).unwrap_or_default()
    }

    /// Descriptors of the manifests whose subject is `digest`.
    pub(super) fn referrers(&self, name: &str, digest: &str) -> Vec<Value> {
        let Some(repository) = self.repositories.get(name) else { return Vec::new() };
        let mut found = Vec::new();
        for (own, manifest) in &repository.manifests {
            let Ok(parsed) = serde_json::from_slice::<Value>(&manifest.bytes) else { continue };
            if parsed["subject"]["digest"].as_str() != Some(digest) {
                continue;
            }
            let mut descriptor =
                json!({"mediaType": manifest.media_type, "digest": own, "size": manifest.bytes.len()});
            let artifact_type = match &parsed["artifactType"] {
                Value::Null => &parsed["config"]["mediaType"],
                given => given,
            };
            descriptor["artifactType"] = artifact_type.clone();
            if !parsed["annotations"].is_null() {
                descriptor["annotations"] = parsed["annotations"].clone();
            }
            found.push(descriptor);
        }
        found
    }

    pub(super) fn begin_upload(&mut self, name: &str) -> String {
        self.next_upload += 1;
        let id = format!("upload-{}", self.next_upload);
        self.repository(name);
        self.uploads.insert(id.clone(), Upload { repository: name.to_owned(), bytes: Vec::new() });
        id
    }

    /// Makes an address in the storage for a blob.
    pub(super) fn grant(&mut self, bytes: Arc<Vec<u8>>, once: bool) -> String {
        self.next_grant += 1;
        let key = self.next_grant.to_string();
        self.grants.insert(key.clone(), (bytes, once));
        key
    }

    /// Looks an address in the storage up, and uses it up if it works once.
    pub(super) fn redeem(&mut self, key: &str) -> Option<Arc<Vec<u8>>> {
        match self.grants.get(key)? {
            (_, true) => self.grants.remove(key).map(|(bytes, _)| bytes),
            (bytes, false) => Some(Arc::clone(bytes)),
        }
    }
}
