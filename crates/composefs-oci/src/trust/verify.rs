//! Verifying a seal, step by step.

use std::time::SystemTime;

use composefs::{
    digest::{Algorithm, ObjectId, VerityAlgorithm, object_id_of},
    erofs::FormatVersion,
    repo::Repository,
};
use serde::Serialize;

use super::sources::Sources;
use crate::{
    digest::ManifestDigest,
    error::Error,
    seal::{
        SealError,
        annotation::Role,
        claim::{Claim, ClaimSource},
        digests::Tree,
    },
    stored::StoredImage,
};
#[cfg(feature = "signatures")]
use crate::{seal::claim::Claims, signature::Certificate};

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
    let digest = image.manifest().digest();
    let mut run = Verification {
        manifest: digest.clone(),
        algorithm: None,
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
            return Ok(run.failed("manifest", SealError::OtherManifest { expected, actual }));
        }
        Some(_) => run.step("manifest", Outcome::Passed, format!("{digest} is trusted")),
        None => run.step("manifest", Outcome::Skipped, "nothing was said to trust it by"),
    }
    let sources = match Sources::of(repo, image) {
        Ok(sources) if sources.is_empty() => {
            return Ok(run.failed("sources", SealError::NotSealed(digest.clone())));
        }
        Ok(sources) => sources,
        Err(Error::Seal(error)) => return Ok(run.failed("sources", error)),
        Err(error) => return Err(error),
    };
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

/// Builds the images from the layers, and checks them and the objects with the files' contents.
fn images(
    mut run: Verification,
    repo: &Repository,
    image: &StoredImage,
    sources: &Sources,
    algorithm: Algorithm,
) -> Result<Verification, Error> {
    for (role, step) in [(Role::Merged, "merged image"), (Role::Boot, "boot image")] {
        let claims = claimed(sources, algorithm, role);
        if claims.is_empty() {
            run.step(step, Outcome::Skipped, "the seal does not have it");
            continue;
        }
        let mut tree = Tree::of(repo, image, role)?;
        for (source, claim) in claims {
            let format = claim.key.format.unwrap_or(FormatVersion::V1);
            let actual = tree.id(repo, format, algorithm)?;
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
            let id = tree.id(repo, format, repo.algorithm())?;
            if !own.contains(&id) {
                own.push(id);
            }
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
    let artifact =
        options.artifacts.iter().find(|digest| has_merged(&ClaimSource::Artifact((*digest).clone())));
    run.trust = if options.manifest.is_some() && has_merged(&ClaimSource::Inline) {
        Trust::Manifest
    } else if let Some(digest) = artifact {
        Trust::Artifact(digest.clone())
    } else {
        Trust::None
    };
    run
}

/// Looks for a source all of whose digests are signed by certificates that count; the error is the first one's.
#[cfg(feature = "signatures")]
fn signed(sources: &Sources, algorithm: Algorithm, options: &VerifyOptions) -> Result<Trust, SealError> {
    let mut first = None;
    for claims in &sources.all {
        let signed =
            claims.all.iter().any(|claim| claim.key.algorithm == algorithm && claim.signature.is_some());
        if !signed {
            continue;
        }
        match signers_of(claims, algorithm, options) {
            Ok(signers) => return Ok(Trust::Signed { by: claims.source.clone(), signers }),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(Trust::None), Err)
}

/// Checks every signature of a source; of an artifact the manifest's digest must be signed, too.
#[cfg(feature = "signatures")]
fn signers_of(
    claims: &Claims,
    algorithm: Algorithm,
    options: &VerifyOptions,
) -> Result<Vec<String>, SealError> {
    use crate::signature::{formatted, signers};

    let by = || claims.source.clone();
    let needed: &[Role] = match claims.source {
        ClaimSource::Inline => &[Role::Config, Role::Merged],
        ClaimSource::Artifact(_) => &[Role::Manifest, Role::Config, Role::Merged],
    };
    for role in needed {
        if claims.find(*role, Some(algorithm)).is_none() {
            return Err(SealError::Unsigned { role: *role, by: by() });
        }
    }
    let mut names: Vec<String> = Vec::new();
    for claim in claims.all.iter().filter(|claim| claim.key.algorithm == algorithm) {
        let role = claim.key.role;
        let Some(signature) = &claim.signature else {
            return Err(SealError::Unsigned { role, by: by() });
        };
        let found = signers(signature, &formatted(&claim.digest), &options.certificates)
            .map_err(|source| SealError::Signature { role, by: by(), source })?;
        for certificate in found {
            let subject = certificate.subject();
            if !certificate.is_valid_at(options.at) {
                return Err(SealError::Expired { role, by: by(), subject });
            }
            let name = format!("{subject} ({})", certificate.fingerprint());
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}
