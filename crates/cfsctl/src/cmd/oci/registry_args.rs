//! Options of every verb that talks to a registry.

use std::{fmt, io::IsTerminal as _, path::PathBuf, str::FromStr, sync::Arc};

use clap::Args;
use composefs::progress::Observer;
use composefs_oci::{
    credentials::{Credentials, KeychainOptions},
    environment::Environment,
    transport::{
        SourceOptions,
        docker_daemon::DaemonOptions,
        proxy::{ProxyOptions, Tls},
        registry::{RegistryOptions, RetryOptions},
    },
};

use crate::ui::{self, error::Usage};

/// How registries are reached, and as whom.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct RegistryArgs {
    /// Read credentials from this file alone; default: podman's and Docker's files
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Log in as this user, with no file of credentials; without :PASSWORD it is asked for, and not seen by others
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub(crate) creds: Option<Creds>,
    /// Take CA and client certificates (*.crt, *.cert with *.key) from this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) cert_dir: Option<PathBuf>,
    /// Insist on TLS and certificates that verify; default: what registries.conf says, else true
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tls_verify: Option<bool>,
    /// Try a request that fails for a while so many times more; bytes that arrive renew the number
    #[arg(long, value_name = "N")]
    pub(crate) retry: Option<u32>,
    /// Read this registries.conf instead of the user's or the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) registries_conf: Option<PathBuf>,
}

/// A user, and perhaps the password.
#[derive(Clone)]
pub(crate) struct Creds {
    user: String,
    password: Option<String>,
}

impl fmt::Debug for Creds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Creds").field("user", &self.user).finish_non_exhaustive()
    }
}

impl FromStr for Creds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (user, password) = match text.split_once(':') {
            Some((user, password)) => (user, Some(password.to_owned())),
            None => (text, None),
        };
        if user.is_empty() {
            return Err("the user's name is missing");
        }
        Ok(Self { user: user.to_owned(), password })
    }
}

impl RegistryArgs {
    /// What was typed as options of a medium that tells `observer` of what it tries again; asks for the password that
    /// is missing.
    pub(crate) fn source_options(&self, observer: &Arc<dyn Observer>) -> anyhow::Result<SourceOptions> {
        let environment = Environment::from_process();
        let mut retries = RetryOptions::default().observer(Arc::clone(observer));
        if let Some(limit) = self.retry {
            retries = retries.limit(limit);
        }
        let registry = RegistryOptions::default()
            .environment(environment.clone())
            .keychain(self.keychain()?)
            .registries_conf(self.registries_conf.clone())
            .cert_dir(self.cert_dir.clone())
            .tls_verify(self.tls_verify)
            .retries(retries);
        let proxy = match self.tls_verify {
            Some(false) => ProxyOptions::default().tls(Tls::Unchecked),
            _ => ProxyOptions::default(),
        };
        Ok(SourceOptions::default()
            .registry(registry)
            .docker(DaemonOptions::from_environment(&environment))
            .proxy(proxy)
            .environment(environment))
    }

    /// Where credentials come from.
    fn keychain(&self) -> anyhow::Result<KeychainOptions> {
        let credentials = self.creds.as_ref().map(Creds::credentials).transpose()?;
        Ok(KeychainOptions::default().authfile(self.authfile.clone()).credentials(credentials))
    }
}

impl Creds {
    fn credentials(&self) -> anyhow::Result<Credentials> {
        let Self { user, password } = self;
        let password = match password {
            Some(password) => password.clone(),
            None if std::io::stdin().is_terminal() => ui::prompt::password(&format!("Password of {user}: "))?,
            None => anyhow::bail!(Usage(format!(
                "--creds {user}: there is no terminal to ask for the password; log in before, or say --creds {user}:PASSWORD, which other users can see"
            ))),
        };
        Ok(Credentials::basic(user.clone(), password))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creds_are_split_once_and_never_shown() {
        let creds: Creds = "someone:a:b".parse().unwrap();
        assert_eq!((creds.user.as_str(), creds.password.as_deref()), ("someone", Some("a:b")));
        assert_eq!(format!("{creds:?}"), "Creds { user: \"someone\", .. }");
        let creds: Creds = "someone".parse().unwrap();
        assert_eq!(creds.password, None);
        assert!(":x".parse::<Creds>().is_err());
    }
}
