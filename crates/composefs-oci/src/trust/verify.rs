//! Verifying a seal, step by step.

use std::time::SystemTime;

use composefs::{
    digest::{Algorithm, ObjectId, VerityAlgorithm, object_id_of},
    erofs::FormatVersion,
    filetree::XattrMode,
    repo::Repository,
};
use serde::Serialize;

#[cfg(feature = "signatures")]
use super::signers::signed;
use super::sources::Sources;
#[cfg(feature = "signatures")]
use crate::signature::Certificate;
use crate::{
    digest::ManifestDigest,
    error::Error,
    ident::parse_image_key,
    seal::{
        SealError,
        annotation::Role,
        claim::{Claim, ClaimSource},
        digests::Tree,
    },
    stored::{StoredImage, StoredManifest},
};

/// What is trusted, and when it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// The manifest that is trusted; digests in it are then trusted, too.
    pub manifest: Option<ManifestDigest>,
    /// Artifacts that are trusted as they are, signed or not.
    pub artifacts: Vec<ManifestDigest>,
    /// The certificates one of whose keys must have signed; none asks for no signature.
    #[cfg(feature = "signatures")]
    pub certificates: Vec<Certificate>,
    /// The time at which certificates must be valid.
    pub at: SystemTime,
}

impl VerifyOptions {
    /// With nothing that is trusted, at a moment.
    #[must_use]
    pub const fn new(at: SystemTime) -> Self {
        Self {
            manifest: None,
            artifacts: Vec::new(),
            #[cfg(feature = "signatures")]
            certificates: Vec::new(),
            at,
        }
    }

    /// Sets the manifest that is trusted.
    #[must_use]
    pub fn manifest(mut self, digest: Option<ManifestDigest>) -> Self {
        self.manifest = digest;
        self
    }

    /// Sets the artifacts that are trusted.
    #[must_use]
    pub fn artifacts(mut self, digests: Vec<ManifestDigest>) -> Self {
        self.artifacts = digests;
        self
    }

    /// Sets the certificates.
    #[cfg(feature = "signatures")]
    #[must_use]
    pub fn certificates(mut self, certificates: Vec<Certificate>) -> Self {
        self.certificates = certificates;
        self
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All is as it must be.
    Passed,
    /// It is not.
    Failed,
    /// There was nothing to do.
    Skipped,
}

/// One step, and how it ended.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct StepReport {
    /// What was looked at, in a word.
    pub step: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
}

/// Why the digests are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// They are not: they are right, and anybody may have written them.
    None,
    /// They stand in a manifest that is trusted.
    Manifest,
    /// They stand in an artifact that is trusted.
    Artifact(ManifestDigest),
    /// They are signed.
    Signed {
        /// Where the signatures stand.
        by: ClaimSource,
        /// The signers' names.
        signers: Vec<String>,
    },
}

impl Trust {
    /// Returns its name in records and documents.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Manifest => "manifest",
            Self::Artifact(_) => "artifact",
            Self::Signed { .. } => "signed",
        }
    }
}

/// A digest that is as the seal says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Of what.
    pub role: Role,
    /// The digest.
    pub digest: ObjectId,
    /// Who says so; the first of those who do.
    pub source: ClaimSource,
}

/// How a verification went.
#[derive(Debug)]
#[non_exhaustive]
pub struct Verification {
    /// The image.
    pub manifest: ManifestDigest,
    /// The algorithm of the digests that count, once it is chosen.
    pub algorithm: Option<Algorithm>,
    /// Who says something about the image, once they are found.
    pub sources: Vec<ClaimSource>,
    /// The steps that were taken.
    pub steps: Vec<StepReport>,
    /// The digests that are right.
    pub verified: Vec<Verified>,
    /// The images of the root file system, in the formats of this repository, that may be mounted for it.
    pub images: Vec<ObjectId>,
    /// Those of the variant that boots.
    pub boot_images: Vec<ObjectId>,
    /// Why the digests are believed.
    pub trust: Trust,
    /// What ended it early.
    pub failure: Option<SealError>,
}

impl Verification {
    fn step(&mut self, step: &'static str, outcome: Outcome, detail: impl Into<String>) {
        self.steps.push(StepReport { step, outcome, detail: detail.into() });
    }

    /// Ends it.
    fn failed(mut self, step: &'static str, error: SealError) -> Self {
        let mut detail = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            detail = format!("{detail}: {inner}");
            cause = inner.source();
        }
        self.step(step, Outcome::Failed, detail);
        self.trust = Trust::None;
        self.failure = Some(error);
        self
    }
}

/// Verifies the seal of an image.
///
/// That it does not hold is [`Verification::failure`]; nothing is stored or changed.
///
/// # Errors
/// What reading the repository, and building the trees, give.
pub fn verify(
    repo: &Repository,
    image: &StoredImage,
    options: &VerifyOptions,
) -> Result<Verification, Error> {
    let run = begin(image.manifest().digest(), options);
    if run.failure.is_some() { Ok(run) } else { go_on(run, repo, image, options) }
}

/// Verifies the seal of the image with a manifest; that its documents are damaged is a step that failed, too.
///
/// # Errors
/// [`Error::NotFound`]; otherwise as [`verify`].
pub fn verify_manifest(
    repo: &Repository,
    digest: &ManifestDigest,
    options: &VerifyOptions,
) -> Result<Verification, Error> {
    let run = begin(digest, options);
    if run.failure.is_some() {
        return Ok(run);
    }
    let unusable = |role, error| SealError::Document(role, Box::new(error));
    let manifest = match StoredManifest::open(repo, digest) {
        Ok(manifest) => manifest,
        Err(error @ Error::NotFound(_)) => return Err(error),
        Err(error) => return Ok(run.failed("manifest digest", unusable(Role::Manifest, error))),
    };
    match manifest.with_config(repo) {
        Ok(image) => go_on(run, repo, &image, options),
        Err(error) => Ok(run.failed("config digest", unusable(Role::Config, error))),
    }
}

/// Begins with the manifest that is trusted.
fn begin(digest: &ManifestDigest, options: &VerifyOptions) -> Verification {
    let mut run = Verification {
        manifest: digest.clone(),
        algorithm: None,
        sources: Vec::new(),
        steps: Vec::new(),
        verified: Vec::new(),
        images: Vec::new(),
        boot_images: Vec::new(),
        trust: Trust::None,
        failure: None,
    };
    match &options.manifest {
        Some(expected) if expected != digest => {
            let (expected, actual) = (expected.clone(), digest.clone());
            return run.failed("manifest", SealError::OtherManifest { expected, actual });
        }
        Some(_) => run.step("manifest", Outcome::Passed, format!("{digest} is trusted")),
        None => run.step("manifest", Outcome::Skipped, "nothing was said to trust it by"),
    }
    run
}

/// Does all that comes after the manifest.
fn go_on(
    mut run: Verification,
    repo: &Repository,
    image: &StoredImage,
    options: &VerifyOptions,
) -> Result<Verification, Error> {
    let digest = image.manifest().digest();
    let sources = match Sources::of(repo, image) {
        Ok(sources) if sources.is_empty() => {
            return Ok(run.failed("sources", SealError::NotSealed(digest.clone())));
        }
        Ok(sources) => sources,
        Err(Error::Seal(error)) => return Ok(run.failed("sources", error)),
        Err(error) => return Err(error),
    };
    run.sources = sources.all.iter().map(|claims| claims.source.clone()).collect();
    let names: Vec<String> = sources.all.iter().map(|claims| claims.source.to_string()).collect();
    run.step("sources", Outcome::Passed, names.join(", "));
    let algorithm = match sources.choose(repo.algorithm()) {
        Ok(algorithm) => algorithm,
        Err(error) => return Ok(run.failed("algorithm", error)),
    };
    run.algorithm = Some(algorithm);
    let how =
        if algorithm == repo.algorithm() { "" } else { ", not this repository's: files are hashed anew" };
    run.step("algorithm", Outcome::Passed, format!("{}{how}", VerityAlgorithm(algorithm)));
    if let Err(error) = sources.agree(algorithm) {
        return Ok(run.failed("agreement", error));
    }
    run.step("agreement", Outcome::Passed, format!("{} in all", count(sources.all.len(), "source")));
    run = match documents(run, image, &sources, algorithm) {
        run if run.failure.is_some() => return Ok(run),
        run => run,
    };
    run = match images(run, repo, image, &sources, algorithm)? {
        run if run.failure.is_some() => return Ok(run),
        run => run,
    };
    run = match streams(run, repo, image, &sources) {
        run if run.failure.is_some() => return Ok(run),
        run => run,
    };
    Ok(trust(run, &sources, algorithm, options))
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Returns the claims of a role, of each key one.
fn claimed(sources: &Sources, algorithm: Algorithm, role: Role) -> Vec<(&ClaimSource, &Claim)> {
    let mut found: Vec<(&ClaimSource, &Claim)> = Vec::new();
    for (source, claim) in sources.claims(algorithm).filter(|(_, claim)| claim.key.role == role) {
        if found.iter().all(|(_, known)| known.key != claim.key) {
            found.push((source, claim));
        }
    }
    found
}

/// Checks config and manifest, whose bytes are here.
fn documents(
    mut run: Verification,
    image: &StoredImage,
    sources: &Sources,
    algorithm: Algorithm,
) -> Verification {
    let documents = [
        (Role::Manifest, "manifest digest", image.manifest().bytes()),
        (Role::Config, "config digest", image.config().bytes()),
    ];
    for (role, step, bytes) in documents {
        let claims = claimed(sources, algorithm, role);
        let Some((source, claim)) = claims.first() else {
            run.step(step, Outcome::Skipped, "the seal does not have it");
            continue;
        };
        let actual = object_id_of(algorithm, bytes);
        if actual != claim.digest {
            let (expected, by) = (claim.digest, (*source).clone());
            return run.failed(step, SealError::Digest { role, expected, actual, by });
        }
        run.step(step, Outcome::Passed, actual.to_hex());
        run.verified.push(Verified { role, digest: actual, source: (*source).clone() });
    }
    run
}

/// Builds the images from the layers, and checks them, the ids that are recorded, and the objects with the files'
/// contents.
fn images(
    mut run: Verification,
    repo: &Repository,
    image: &StoredImage,
    sources: &Sources,
    algorithm: Algorithm,
) -> Result<Verification, Error> {
    for (role, step) in [(Role::Merged, "merged image"), (Role::Boot, "boot image")] {
        let claims = claimed(sources, algorithm, role);
        let recorded = recorded(image, role);
        if claims.is_empty() {
            run.step(step, Outcome::Skipped, "the seal does not have it");
            if recorded.is_empty() {
                continue;
            }
        }
        let failed = |run: Verification, error| Ok(run.failed(step, SealError::Build(role, Box::new(error))));
        let mut tree = match Tree::of(repo, image, role) {
            Ok(tree) => tree,
            Err(error) => return failed(run, error),
        };
        let sealed = !claims.is_empty();
        for (source, claim) in claims {
            let format = claim.key.format.unwrap_or(FormatVersion::V1);
            let actual = match tree.id(repo, format, algorithm) {
                Ok(actual) => actual,
                Err(error) => return failed(run, error),
            };
            if actual != claim.digest {
                let (expected, by) = (claim.digest, source.clone());
                return Ok(run.failed(step, SealError::Digest { role, expected, actual, by }));
            }
            run.step(step, Outcome::Passed, actual.to_hex());
            run.verified.push(Verified { role, digest: actual, source: source.clone() });
        }
        // The same tree in the formats that this repository mounts.
        let mut formats: Vec<FormatVersion> = repo.erofs_formats().iter().collect();
        formats.push(FormatVersion::V1);
        let mut own = Vec::new();
        for format in formats {
            let id = match tree.id(repo, format, repo.algorithm()) {
                Ok(id) => id,
                Err(error) => return failed(run, error),
            };
            if !own.contains(&id) {
                own.push(id);
            }
        }
        for (key, versions, id) in &recorded {
            let mut given = Vec::new();
            for format in *versions {
                match tree.id(repo, *format, repo.algorithm()) {
                    Ok(id) => given.push(id),
                    Err(error) => return failed(run, error),
                }
            }
            if !given.contains(id) {
                let (key, recorded) = (key.clone(), *id);
                let actual = given.first().copied().unwrap_or(recorded);
                return Ok(run.failed("recorded images", SealError::Recorded { key, recorded, actual }));
            }
            if !own.contains(id) {
                own.push(*id);
            }
        }
        match recorded.len() {
            0 => run.step("recorded images", Outcome::Skipped, "none is recorded"),
            all => run.step(
                "recorded images",
                Outcome::Passed,
                format!("{} as the layers give", count(all, "image")),
            ),
        }
        if !sealed {
            continue;
        }
        let stored: Vec<ObjectId> =
            own.iter().copied().filter(|id| repo.image_entry(id).ok().flatten().is_some()).collect();
        let objects = tree.objects();
        for id in stored.iter().chain(&objects) {
            if let Err(error) = repo.check_object(id) {
                return Ok(run.failed("objects", SealError::Object(*id, Box::new(error))));
            }
        }
        let made = count(stored.len(), "image");
        run.step(
            "objects",
            Outcome::Passed,
            format!("{made} and {} as they must be", count(objects.len(), "object")),
        );
        match role {
            Role::Boot => run.boot_images = own,
            _ => run.images = own,
        }
    }
    Ok(run)
}

/// Returns the images that the config's stream records for a role: key, formats it may have, id.
fn recorded(image: &StoredImage, role: Role) -> Vec<(String, &'static [FormatVersion], ObjectId)> {
    let fits = |(key, id): &(String, ObjectId)| {
        let parsed = parse_image_key(key)?;
        // Variants of other modes are mounted by their id only.
        let wanted = parsed.bootable == (role == Role::Boot) && parsed.xattrs == XattrMode::default();
        wanted.then(|| (key.clone(), parsed.versions, *id))
    };
    image.config().refs().iter().filter_map(fits).collect()
}

/// Checks the streams that name documents, layers and images: where there is no fs-verity nobody else does.
fn streams(mut run: Verification, repo: &Repository, image: &StoredImage, sources: &Sources) -> Verification {
    let mut all = vec![*image.manifest_stream(), *image.config().stream()];
    match image.config().layers() {
        Ok(layers) => all.extend(layers.into_iter().map(|(_, id)| id)),
        Err(error) => return run.failed("streams", SealError::Document(Role::Config, Box::new(error))),
    }
    all.extend(&sources.streams);
    all.sort();
    all.dedup();
    for id in &all {
        if let Err(error) = repo.check_object(id) {
            return run.failed("streams", SealError::Stream(*id, Box::new(error)));
        }
    }
    run.step("streams", Outcome::Passed, format!("{} as they must be", count(all.len(), "stream")));
    run
}

/// Finds out why the digests are believed.
fn trust(
    mut run: Verification,
    sources: &Sources,
    algorithm: Algorithm,
    options: &VerifyOptions,
) -> Verification {
    let has_merged = |source: &ClaimSource| {
        let merged = |(_, claim): &(&ClaimSource, &Claim)| claim.key.role == Role::Merged;
        sources.claims(algorithm).filter(merged).any(|(by, _)| by == source)
    };
    for artifact in &options.artifacts {
        if !has_merged(&ClaimSource::Artifact(artifact.clone())) {
            let (artifact, image) = (artifact.clone(), run.manifest.clone());
            return run.failed("trusted artifact", SealError::NotVouching { artifact, image });
        }
        run.step("trusted artifact", Outcome::Passed, artifact.to_string());
    }
    #[cfg(feature = "signatures")]
    if !options.certificates.is_empty() {
        return match signed(sources, algorithm, options) {
            Ok(trust @ Trust::Signed { .. }) => {
                if let Trust::Signed { by, signers } = &trust {
                    let note = match by {
                        ClaimSource::Inline => "; the manifest itself is not, and may be paired with others",
                        ClaimSource::Artifact(_) => "",
                    };
                    let detail = format!("{by}: signed by {}{note}", signers.join(" and "));
                    run.step("signatures", Outcome::Passed, detail);
                }
                run.trust = trust;
                run
            }
            Ok(_) => run.failed("signatures", SealError::NotSigned),
            Err(error) => run.failed("signatures", error),
        };
    }
    let signed = sources.claims(algorithm).any(|(_, claim)| claim.signature.is_some());
    let why = if signed { "no certificate was given to check them by" } else { "nothing is signed" };
    run.step("signatures", Outcome::Skipped, why);
    run.trust = if options.manifest.is_some() && has_merged(&ClaimSource::Inline) {
        Trust::Manifest
    } else if let Some(digest) = options.artifacts.first() {
        Trust::Artifact(digest.clone())
    } else {
        Trust::None
    };
    run
}
