//! Indexes, manifests and configs: no input panics, and every choice is one that the index offers.
//!
//! The input is documents with a NUL between two. The first is an index; `#2` in one is the digest of the second
//! after it, `$2` that document's size, so that documents can lead to others whatever becomes of their bytes.
#![allow(clippy::unwrap_used, unreachable_pub)]

use composefs_oci::{
    Error,
    digest::Digest,
    model::{Config, Manifest, descriptor_digest, parse_index, platform::Platform},
    reference::Select,
    transport::select::choose,
};

/// Replaces `#N` and `$N` by digest and size of the Nth document that follows.
fn resolve(document: &[u8], later: &[(Digest, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = document.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let number = bytes.peek().map(|digit| usize::from(digit.wrapping_sub(b'1')));
        // `later` has the last document first.
        let target = number.and_then(|number| later.len().checked_sub(number + 1)).map(|at| &later[at]);
        match (byte, target) {
            (b'#', Some((digest, _))) => out.extend_from_slice(digest.as_str().as_bytes()),
            (b'$', Some((_, document))) => out.extend_from_slice(document.len().to_string().as_bytes()),
            _ => {
                out.push(byte);
                continue;
            }
        }
        bytes.next();
    }
    out
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut documents: Vec<(Digest, Vec<u8>)> = Vec::new();
    for part in data.splitn(9, |&byte| byte == 0).collect::<Vec<_>>().into_iter().rev() {
        let document = resolve(part, &documents);
        documents.push((Digest::sha256(&document), document));
    }
    for (digest, document) in &documents {
        if let Ok(manifest) = Manifest::parse(document.clone()) {
            assert_eq!(manifest.digest().digest(), digest);
            manifest.config_digest().unwrap();
            assert!(manifest.layers().iter().all(|layer| descriptor_digest(layer).is_ok()));
        }
        if let Ok(config) = Config::parse_as(document.clone(), digest.to_string().parse().unwrap()) {
            assert_eq!(config.diff_ids().len(), config.parsed().rootfs().diff_ids().len());
            let _ = config.label("containers.composefs.fsverity");
        }
    }
    let Some(index) = documents.last().and_then(|(_, document)| parse_index(document).ok()) else { return };
    let read = |descriptor: &composefs_oci::model::Descriptor, max: u64| {
        let digest = descriptor_digest(descriptor).map(|digest| digest.digest().clone());
        let found = documents.iter().find(|(have, _)| digest.as_ref() == Ok(have));
        match (found, digest) {
            (Some((_, document)), _) if document.len() as u64 <= max => Ok(document.clone()),
            (_, Ok(digest)) => Err(Error::BlobMissing { digest, place: "memory".to_owned() }),
            (_, Err(_)) => Err(Error::NotFound(descriptor.digest().to_string())),
        }
    };
    let mut selects = vec![Select::Any, Select::Tag("a".to_owned()), Select::Position(0), Select::Position(1)];
    selects.extend(documents.first().map(|(digest, _)| Select::Digest(digest.to_string().parse().unwrap())));
    for select in selects {
        for platform in ["linux/amd64", "linux/arm/v7", "linux/arm64"] {
            let platform: Platform = platform.parse().unwrap();
            if let Ok(chosen) = choose(&index, &select, &platform, "memory", &read) {
                assert_eq!(Digest::sha256(&chosen.bytes), chosen.digest);
                if let Select::Digest(digest) = &select {
                    assert_eq!(digest.digest(), &chosen.digest);
                }
            }
        }
    }
}
