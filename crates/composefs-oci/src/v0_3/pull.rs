//! Pulling from wherever skopeo or we can read.

use std::sync::Arc;

use composefs::{
    fsverity::FsVerityHashValue,
    name::RefName,
    repository::Repository,
    util::{Sha256Digest, parse_sha256},
};

use super::{bars, commit, frozen};
use crate::{
    environment::Environment,
    error::{Error, Step},
    ident,
    policy::Policy,
    pull::PullOptions,
    reference::Reference,
    transport,
};

/// Pulls an image with its layers, and returns the SHA-256 of its config and the id of the config's stream.
///
/// `reference` becomes a ref to the config, as in 0.3, and the tag of the image, as today; both are moved if they are
/// there. Runs on a thread for blocking work, so this must be awaited on a tokio runtime. Bars are shown if the
/// feature `progress` is on.
///
/// # Errors
/// As [`crate::pull::pull`].
pub async fn pull<ObjectID: FsVerityHashValue>(
    repo: &Arc<Repository<ObjectID>>,
    imgref: &str,
    reference: Option<&str>,
) -> Result<(Sha256Digest, ObjectID), Error> {
    let (repo, imgref) = (Arc::clone(repo), imgref.to_owned());
    let reference = reference.map(str::to_owned);
    let work = tokio::task::spawn_blocking(move || blocking(&repo, &imgref, reference.as_deref()));
    work.await.map_err(|error| Error::source(Step::Spawn, "a pull", std::io::Error::other(error)))?
}

fn blocking<ObjectID: FsVerityHashValue>(
    repo: &Repository<ObjectID>,
    imgref: &str,
    reference: Option<&str>,
) -> Result<(Sha256Digest, ObjectID), Error> {
    let config_ref = reference.filter(|name| !is_ours(name)).map(RefName::new).transpose()?;
    // As 0.3 did by way of skopeo, this sees the variables and files of whoever runs it.
    let environment = Environment::from_process();
    let policy = Policy::load(&environment, None)?;
    let options = transport::SourceOptions::default().environment(environment.clone()).policy(policy);
    #[cfg(feature = "registry")]
    let options = options.registry(transport::registry::RegistryOptions::default().environment(environment));
    let source = transport::open(&imgref.parse::<Reference>()?, &options)?;
    let mut options = PullOptions::default();
    if let Some(reference) = reference {
        options = options.tag(reference);
    }
    let writer = repo.writer()?;
    let pulled = crate::pull::pull(&writer, source.as_ref(), &options, &bars::observer())?;
    if config_ref.is_some() {
        commit(&writer, &ident::config(&pulled.config)?, None, config_ref)?;
    }
    let sha256 = parse_sha256(pulled.config.digest().encoded()).map_err(composefs::Error::caller)?;
    Ok((sha256, frozen(&pulled.config_stream)?))
}

/// Tells whether a ref of this name would stand where tags or referrers are.
fn is_ours(name: &str) -> bool {
    matches!(name.split('/').next(), Some(ident::TAGS | ident::REFERRERS))
}
