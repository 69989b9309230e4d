use std::path::{Path, PathBuf};

use composefs::digest::object_id_of;
use tempfile::TempDir;

use super::*;
use crate::{
    model::Descriptor,
    reference::{InLayout, Select},
    transport::{Source as _, layout::Layout},
};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/repo/seal")
}

/// The layout of the vectors, and what its tags are expected to be.
struct Vectors {
    dir: TempDir,
    rows: Vec<Vec<String>>,
}

impl Vectors {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let file = std::fs::File::open(vectors().join("layout.tar.gz")).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
        archive.set_preserve_permissions(false);
        archive.unpack(dir.path()).unwrap();
        let text = std::fs::read_to_string(vectors().join("expected.tsv")).unwrap();
        let rows = text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
        Self { dir, rows }
    }

    fn layout(&self, tag: &str) -> Layout {
        let path = self.dir.path().join("layout");
        Layout::open(&InLayout { path, select: Select::Tag(tag.to_owned()) }).unwrap()
    }

    fn manifest(&self, tag: &str) -> Manifest {
        Manifest::parse(self.layout(tag).root().unwrap().bytes).unwrap()
    }

    fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>, crate::Error> {
        self.layout("image").document(descriptor, SIGNATURE_MAX as u64)
    }

    fn claims(&self, tag: &str) -> Result<Claims, ClaimError> {
        let manifest = self.manifest(tag);
        if tag.starts_with("inline") {
            return Claims::inline(&manifest);
        }
        Claims::artifact(&manifest, &self.manifest("image"), &|entry| self.read(entry))
    }

    /// What a digest really is.
    fn actual(&self, key: Key) -> ObjectId {
        let image = self.manifest("image");
        match key.role {
            Role::Manifest => object_id_of(key.algorithm, image.bytes()),
            Role::Config => {
                let config = self.layout("image").document(image.parsed().config(), 1 << 20).unwrap();
                object_id_of(key.algorithm, &config)
            }
            _ => {
                let name = format!("V1 {}", key.algorithm);
                let row = self.rows.iter().find(|row| row[0] == "merged" && row[1] == name).unwrap();
                ObjectId::from_hex(key.algorithm, &row[2]).unwrap()
            }
        }
    }

    /// The roles whose digests are wrong.
    fn wrong(&self, claims: &Claims) -> Vec<Role> {
        claims
            .all
            .iter()
            .filter(|claim| claim.digest != self.actual(claim.key))
            .map(|claim| claim.key.role)
            .collect()
    }
}

#[test]
fn all_vectors() {
    let vectors = Vectors::new();
    for row in vectors.rows.iter().filter(|row| row[0].starts_with("meta-") || row[0].starts_with("inline-"))
    {
        let (tag, verdict) = (row[0].as_str(), row[1].as_str());
        assert_eq!(vectors.manifest(tag).digest().as_str(), row[2], "{tag}");
        let claims = vectors.claims(tag);
        if tag == "meta-other-subject" {
            assert!(matches!(claims, Err(ClaimError::OtherSubject)));
            continue;
        }
        let claims = claims.unwrap_or_else(|error| panic!("{tag}: {error}"));
        let inline = tag.starts_with("inline-");
        assert_eq!(claims.source == ClaimSource::Inline, inline);
        assert_eq!(claims.all.len(), if inline { 2 } else { 3 }, "{tag}");
        let wrong: Vec<Role> = match verdict.strip_prefix("invalid: ") {
            Some("merged digest") => vec![Role::Merged],
            Some("config digest") => vec![Role::Config],
            Some("manifest digest") => vec![Role::Manifest],
            Some(other) => panic!("{other}"),
            None => Vec::new(),
        };
        assert_eq!(vectors.wrong(&claims), wrong, "{tag}");
        let signed = !["meta-digests-only", "inline-digest"].contains(&tag);
        assert_eq!(claims.is_signed(), signed, "{tag}");
        assert!(claims.all.iter().all(|claim| claim.signature.is_some() == signed));
        #[cfg(feature = "signatures")]
        signed_by(&claims, if tag == "meta-stranger" { "stranger" } else { "signer" });
    }
    let image = vectors.manifest("image");
    assert!(Claims::inline(&image).unwrap().all.is_empty());
    // An image is no artifact about itself.
    let error = Claims::artifact(&image, &image, &|entry| vectors.read(entry)).unwrap_err();
    assert!(matches!(error, ClaimError::OtherSubject));
}

#[cfg(feature = "signatures")]
fn signed_by(claims: &Claims, who: &str) {
    use crate::signature::{Certificate, formatted, signers};
    let read = |who: &str| {
        let pem = std::fs::read(vectors().join(format!("{who}.cert.pem"))).unwrap();
        Certificate::parse_all(&pem).unwrap()
    };
    for claim in &claims.all {
        let Some(signature) = &claim.signature else { continue };
        let message = formatted(&claim.digest);
        signers(signature, &message, &read(who)).unwrap();
        let other = if who == "signer" { "stranger" } else { "signer" };
        signers(signature, &message, &read(other)).unwrap_err();
    }
}

/// An artifact with other entries than it has.
fn changed(change: impl Fn(&mut Vec<serde_json::Value>)) -> Result<Claims, ClaimError> {
    let vectors = Vectors::new();
    let mut json: serde_json::Value =
        serde_json::from_slice(vectors.manifest("meta-sha256").bytes()).unwrap();
    change(json["layers"].as_array_mut().unwrap());
    let artifact = Manifest::parse(serde_json::to_vec(&json).unwrap()).unwrap();
    Claims::artifact(&artifact, &vectors.manifest("image"), &|entry| vectors.read(entry))
}

#[test]
fn artifacts_that_are_none() {
    let merged = "composefs.merged.erofs.v1.fsverity-sha256-12";
    changed(|_| {}).unwrap();
    let error = |change: &dyn Fn(&mut Vec<serde_json::Value>)| changed(change).unwrap_err();
    assert!(matches!(error(&|all| drop(all.pop())), ClaimError::NoMerged));
    assert!(matches!(error(&|all| drop(all.remove(0))), ClaimError::Unsigned(Role::Manifest)));
    assert!(matches!(error(&|all| drop(all.remove(1))), ClaimError::Unsigned(Role::Config)));
    assert!(matches!(error(&|all| all.push(all[0].clone())), ClaimError::Twice(Role::Manifest)));
    assert!(matches!(error(&|all| all[2]["annotations"] = serde_json::json!({})), ClaimError::Entry(2)));
    let two = |all: &mut Vec<serde_json::Value>| {
        all[1]["annotations"][merged] = serde_json::json!("0".repeat(64));
    };
    assert!(matches!(error(&two), ClaimError::Entry(1)));
    let upper = |all: &mut Vec<serde_json::Value>| {
        all[2]["annotations"][merged] = serde_json::json!("A".repeat(64));
    };
    assert!(matches!(error(&upper), ClaimError::Annotation(AnnotationError::Digest(_))));
    let mixed = |all: &mut Vec<serde_json::Value>| {
        all[2]["annotations"] =
            serde_json::json!({"composefs.merged.erofs.v1.fsverity-sha512-12": "0".repeat(128)});
    };
    assert!(matches!(error(&mixed), ClaimError::Algorithms));
    let kind = |all: &mut Vec<serde_json::Value>| all[0]["mediaType"] = serde_json::json!("text/plain");
    assert!(matches!(error(&kind), ClaimError::MediaType(0, _)));
    let empty = |all: &mut Vec<serde_json::Value>| all[2]["size"] = serde_json::json!(0);
    assert!(matches!(error(&empty), ClaimError::Unsigned(Role::Merged)));
    let large = |all: &mut Vec<serde_json::Value>| all[2]["size"] = serde_json::json!(SIGNATURE_MAX + 1);
    assert!(matches!(error(&large), ClaimError::TooLarge(Role::Merged, _)));
    // The bytes are another signature's, so they have not its size or digest.
    let swapped = |all: &mut Vec<serde_json::Value>| all[2]["size"] = serde_json::json!(7);
    assert!(matches!(error(&swapped), ClaimError::Read(Role::Merged, _)));
}
