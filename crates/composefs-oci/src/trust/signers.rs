//! Who signed the digests of a seal.

use composefs::digest::Algorithm;

use super::{
    sources::Sources,
    verify::{Trust, VerifyOptions},
};
use crate::{
    seal::{
        SealError,
        annotation::Role,
        claim::{ClaimSource, Claims},
    },
    signature::{formatted, signers},
};

/// Looks for a source all of whose digests are signed by certificates that count; the error is the first one's.
pub(super) fn signed(
    sources: &Sources,
    algorithm: Algorithm,
    options: &VerifyOptions,
) -> Result<Trust, SealError> {
    let mut first = None;
    for claims in &sources.all {
        let signed =
            claims.all.iter().any(|claim| claim.key.algorithm == algorithm && claim.signature.is_some());
        if !signed {
            continue;
        }
        match signers_of(claims, algorithm, options) {
            Ok(signers) => return Ok(Trust::Signed { by: claims.source.clone(), signers }),
            // That a certificate has expired outweighs that another is not known.
            Err(error @ SealError::Expired { .. }) => first = Some(error),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(Trust::None), Err)
}

/// Checks every signature of a source; of an artifact the manifest's digest must be signed, too.
fn signers_of(
    claims: &Claims,
    algorithm: Algorithm,
    options: &VerifyOptions,
) -> Result<Vec<String>, SealError> {
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
