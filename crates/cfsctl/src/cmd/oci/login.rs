//! `cfsctl oci login` and `logout`

use std::{
    io::{IsTerminal as _, Read as _, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use clap::Args;
use composefs_oci::{
    credentials::{Credentials, Kept, Keychain, KeychainOptions, Secret, registry_key},
    environment::Environment,
    transport::registry::{RegistryOptions, check_login},
};

use crate::{
    app::App,
    ui::{self, error::Usage},
};

/// The longest password on standard input, in bytes.
const PASSWORD_MAX: u64 = 64 << 10;

/// Check a user and a password with a registry, and store them
///
/// They go where podman and skopeo look, too: $XDG_RUNTIME_DIR/containers/auth.json, which is gone after the next
/// boot, unless --authfile or $REGISTRY_AUTH_FILE names another file. If that file has a credential helper for the
/// registry, the helper keeps them.
///
/// Example: pass show quay | cfsctl oci login -u me --password-stdin quay.io
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The registry, or a part of one: quay.io, quay.io/team
    #[arg(value_name = "REGISTRY")]
    registry: String,
    /// The user; without it, it is asked for
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// The password, which every user of the machine can see; without it, it is asked for
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin", value_parser = secret)]
    password: Option<Secret>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Print the user that is stored for the registry, and store nothing
    #[arg(long, conflicts_with_all = ["username", "password", "password_stdin"])]
    get_login: bool,
    /// Store them in this file
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Take CA and client certificates (*.crt, *.cert with *.key) from this directory
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Insist on TLS and certificates that verify; default: what registries.conf says, else true
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,
    /// Read this registries.conf instead of the user's or the system's
    #[arg(long, value_name = "FILE")]
    registries_conf: Option<PathBuf>,
}

#[allow(clippy::unnecessary_wraps, reason = "clap wants a result")]
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

impl Login {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let keychain = keychain(self.authfile.clone());
        let key = registry_key(&self.registry)?;
        if self.get_login {
            return match keychain.lookup(&key)? {
                Some(Credentials::Basic { user, .. }) => Ok(writeln!(ui::out(), "{user}")?),
                Some(_) => bail!("what is stored for {key} is an identity token, which names no user"),
                None => bail!("not logged in to {key}"),
            };
        }
        if self.password.is_some() && !app.global.quiet {
            crate::ui::say!(
                "warning: others can see a password given by --password; --password-stdin hides it"
            );
        }
        let user = self.user()?;
        let password = self.password(&user)?;
        let options = RegistryOptions::default()
            .environment(Environment::from_process())
            .cert_dir(self.cert_dir.clone())
            .tls_verify(self.tls_verify)
            .registries_conf(self.registries_conf.clone());
        let credentials = Credentials::Basic { user: user.clone(), password: password.clone() };
        check_login(&key, credentials, &options)?;
        let kept = keychain.login(&key, &user, &password)?;
        if !app.global.quiet {
            match kept {
                Kept::File(path) => crate::ui::say!("stored in {}", path.display()),
                Kept::Helper(name) => crate::ui::say!("stored by docker-credential-{name}"),
            }
        }
        Ok(())
    }

    fn user(&self) -> anyhow::Result<String> {
        if let Some(user) = &self.username {
            return Ok(user.clone());
        }
        if !std::io::stdin().is_terminal() {
            bail!(Usage("there is no terminal to ask for the user; say --username".to_owned()));
        }
        eprint!("User: ");
        std::io::stderr().flush()?;
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).context("ask for the user")?;
        let user = line.trim();
        anyhow::ensure!(!user.is_empty(), "no user was given");
        Ok(user.to_owned())
    }

    fn password(&self, user: &str) -> anyhow::Result<Secret> {
        if let Some(password) = &self.password {
            return Ok(password.clone());
        }
        if self.password_stdin {
            let mut text = String::new();
            let stdin = std::io::stdin().lock();
            stdin.take(PASSWORD_MAX + 1).read_to_string(&mut text).context("read the password")?;
            anyhow::ensure!(
                text.len() as u64 <= PASSWORD_MAX,
                "a password of more than {PASSWORD_MAX} bytes"
            );
            // As podman: the end of the line that `echo` makes is no part of it.
            let text = Secret::new(text);
            let password = Secret::new(text.expose().trim_end_matches(['\r', '\n']));
            anyhow::ensure!(!password.is_empty(), "no password on standard input");
            return Ok(password);
        }
        if !std::io::stdin().is_terminal() {
            bail!(Usage("there is no terminal to ask for the password; say --password-stdin".to_owned()));
        }
        Ok(Secret::new(ui::prompt::password(&format!("Password of {user}: "))?))
    }
}

/// Remove what is stored for a registry
#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// The registry, or a part of one, as it was logged in to
    #[arg(value_name = "REGISTRY", required_unless_present = "all")]
    registry: Option<String>,
    /// Remove what is stored for all registries
    #[arg(short, long, conflicts_with = "registry")]
    all: bool,
    /// Remove it from this file
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
}

impl Logout {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let keychain = keychain(self.authfile);
        let removed = match &self.registry {
            Some(registry) => match keychain.logout(registry)? {
                Kept::File(path) => format!("removed from {}", path.display()),
                Kept::Helper(name) => format!("removed by docker-credential-{name}"),
            },
            None => format!("removed all from {}", keychain.logout_all()?.display()),
        };
        if !app.global.quiet {
            crate::ui::say!("{removed}");
        }
        Ok(())
    }
}

fn keychain(authfile: Option<PathBuf>) -> Keychain {
    Keychain::new(&Environment::from_process(), KeychainOptions::default().authfile(authfile))
}
