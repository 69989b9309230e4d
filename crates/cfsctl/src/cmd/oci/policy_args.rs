//! The option of every verb that uses images of others.

use std::path::PathBuf;

use clap::Args;
use composefs_oci::{Error, environment::Environment, policy::Policy, transport::SourceOptions};

/// Which images may be used.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PolicyArgs {
    /// Go by this policy.json; default: ~/.config/containers/policy.json, else /etc/containers/policy.json, and where
    /// neither is there any image is taken
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl PolicyArgs {
    /// Adds the policy to how an image is got at.
    pub(crate) fn over(&self, options: SourceOptions) -> anyhow::Result<SourceOptions> {
        let policy =
            Policy::load(&Environment::from_process(), self.policy.as_deref()).map_err(Error::from)?;
        let proxy = options.proxy.clone().policy(self.policy.clone());
        Ok(options.proxy(proxy).policy(policy))
    }
}
