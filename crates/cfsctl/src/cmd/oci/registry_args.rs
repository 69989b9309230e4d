//! Options of every verb that talks to a registry.

use std::{fmt, io::IsTerminal as _, path::PathBuf, str::FromStr};

use clap::Args;
use composefs_oci::{
    environment::Environment,
    transport::{SourceOptions, docker_daemon::DaemonOptions},
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
    /// What was typed as options of a medium; asks for the password that is missing.
    pub(crate) fn source_options(&self) -> anyhow::Result<SourceOptions> {
        let environment = Environment::from_process();
        let daemon = DaemonOptions::from_environment(&environment);
        let mut options = SourceOptions::default().docker(daemon).environment(environment);
        if self.tls_verify == Some(false) {
            options.proxy = options.proxy.tls(composefs_oci::transport::proxy::Tls::Unchecked);
        }
        if let Some(creds) = &self.creds {
            let _password = creds.password()?;
        }
        Ok(options)
    }
}

impl Creds {
    fn password(&self) -> anyhow::Result<String> {
        if let Some(password) = &self.password {
            return Ok(password.clone());
        }
        if !std::io::stdin().is_terminal() {
            anyhow::bail!(Usage(format!(
                "--creds {0}: there is no terminal to ask for the password; log in with `cfsctl oci login`, or say --creds {0}:PASSWORD, which other users can see",
                self.user
            )));
        }
        ui::prompt::password(&format!("Password of {}: ", self.user))
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
