//! Whether a registry takes a user and a password.
//!
//! # Format
//! `docs/formats/transports.md`, section 3.

use crate::{
    credentials::Credentials,
    error::{Error, Step},
    reference::{NameError, RegistryReference},
};

use super::{
    RegistryOptions,
    client::Request,
    connect::Connector,
    fault::Asked,
    hosts::{Endpoint, RegistriesConf},
    token::Purpose,
};

/// Asks a registry, `host[:port]` or a part of it such as `host/team`, whether it takes credentials; one that asks for
/// none takes all. Whether it is insecure is what registries.conf says of that part.
///
/// Mirrors are not asked: what stands for the registry in registries.conf is not whom the user logs in to.
///
/// # Errors
/// [`Error::Registry`] if it refuses them or cannot be asked, [`Error::Hosts`] if it is blocked, [`Error::Tls`].
pub fn check_login(registry: &str, credentials: Credentials, options: &RegistryOptions) -> Result<(), Error> {
    let no_name = |source: NameError| Error::Connections(source.to_string());
    // The path is looked up in registries.conf and never asked for.
    let name = if registry.contains('/') { registry.to_owned() } else { format!("{registry}/x") };
    let reference: RegistryReference = name.parse().map_err(no_name)?;
    let conf = RegistriesConf::load(&options.environment, options.registries_conf.as_deref())?;
    let insecure = conf.endpoints(&reference)?.last().is_some_and(|last| last.insecure);
    let mut options = options.clone();
    options.keychain.credentials = Some(credentials);
    let endpoint = Endpoint { reference, insecure, mirror: false };
    let client = Connector::new(&options).client_for_login(&endpoint)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::source(Step::Spawn, registry, source))?;
    let mut request = Request::get(Asked::Login, "/v2/");
    request.purpose = Purpose::Login;
    match runtime.block_on(client.patiently(&request, &options.retries)) {
        Ok(_) => Ok(()),
        Err(mut failure) => {
            failure.error.asked = Asked::Login;
            Err(failure.into())
        }
    }
}
