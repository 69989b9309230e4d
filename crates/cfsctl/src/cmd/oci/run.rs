//! `cfsctl oci run`

use std::{
    io::IsTerminal as _,
    process::{ExitCode, Stdio},
};

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCompleter;
use composefs_oci::find::Name;

use crate::{
    app::App,
    cmd::oci::container_args::ContainerArgs,
    container::{self, Privileges, ROOTFS, Root, Runtime},
    ui::error::Failed,
};

/// Run a program in an image
///
/// The image is mounted, with changes kept in memory, and crun, runc or youki runs the program. When it ends, all but
/// what it changed in volumes is gone. The exit status is the program's, 128 and the signal's number if one ended it.
///
/// Without root the image is served by FUSE in a user namespace, with the ids that /etc/subuid and /etc/subgid give.
///
/// Example: cfsctl oci run -ti debian bash
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    args: ContainerArgs,
    /// Let the program read what comes in here
    #[arg(short, long)]
    interactive: bool,
    /// Which runtime: a name or path; else the first that is installed of crun, runc, youki
    #[arg(long, value_name = "PROGRAM")]
    runtime: Option<String>,
    /// What the container is called; else a name is made up
    #[arg(long, value_name = "NAME", value_parser = container_name)]
    name: Option<String>,
    /// Remove the container at its end, as always
    #[arg(long)]
    rm: bool,
    /// A tag, or a manifest's or config's digest
    #[arg(add = ArgValueCompleter::new(crate::complete::tags))]
    image: Name,
    /// What to run, in place of the image's command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// What all runtimes take for a name.
fn container_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if text.len() <= 64 && starts && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("a name has up to 64 letters, digits and _.- and begins with a letter or digit".to_owned())
}

impl Run {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<ExitCode> {
        if self.args.tty && !std::io::stdin().is_terminal() {
            let hint = "leave out --tty, or give a terminal".to_owned();
            return Err(Failed::new("--tty: the input is no terminal").hints([hint]).into());
        }
        let mut runtime = Runtime::find(self.runtime.as_deref())?;
        // Where all is, while it is known who asks.
        let app = &app.at(app.path()?);
        let place = container::place()?;
        let made_up = place.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = self.name.as_deref().unwrap_or(&made_up);
        let privileges = Privileges::get()?;
        if matches!(privileges, Privileges::User(_)) {
            runtime = runtime.unprivileged(&place.path().join("state"));
        }

        let repo = app.repository()?;
        let config =
            self.args.config_json(app, &repo, (&self.image, &self.command), name, privileges.namespace())?;
        let bundle = place.path().join("bundle");
        container::write(&bundle, &config)?;
        let source = container::source(app, &repo, &self.image)?;
        // The mount keeps the image. The repository is left to others for as long as the program runs.
        drop(repo);
        // A signal from here on is the container's.
        let signals = container::forward()?;
        let places = (&*bundle.join(ROOTFS), place.path());
        let root = Root::mount(source, &privileges, self.args.verity.into(), places)?;
        let status = self.supervise(&runtime, &bundle, name, signals);
        root.unmount(app.repository().ok().as_ref())?;
        drop(privileges);
        place.close().context("remove the bundle")?;
        Ok(ExitCode::from(status?))
    }

    fn supervise(
        &self,
        runtime: &Runtime,
        bundle: &std::path::Path,
        name: &str,
        signals: container::Forwarding,
    ) -> anyhow::Result<u8> {
        let mut command = runtime.command(bundle, name);
        if !self.interactive && !self.args.tty {
            command.stdin(Stdio::null());
        }
        let context = || format!("run {}", runtime.path().display());
        let mut child = command.spawn().with_context(context)?;
        let forwarding = signals.to(child.id())?;
        let status = child.wait().with_context(context)?;
        forwarding.close();
        if status.code().is_none() {
            // The runtime itself was killed, and its container may live.
            runtime.delete(name)?;
        }
        Ok(container::exit_status(status))
    }
}
