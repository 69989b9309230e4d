//! `cfsctl oci run`

use std::{
    io::IsTerminal as _,
    process::{ExitCode, Stdio},
};

use anyhow::Context as _;
use clap::Args;
use composefs::mount::{UnmountWhen, unmount};
use composefs_oci::find::Name;

use crate::{
    app::App,
    cmd::oci::container_args::ContainerArgs,
    container::{self, ROOTFS, Runtime},
    ui::error::Failed,
};

/// Run a program in an image
///
/// The image is mounted, with changes kept in memory, and crun, runc or youki runs the program. When it ends, all but
/// what it changed in volumes is gone. The exit status is the program's, 128 and the signal's number if one ended it.
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
        let runtime = Runtime::find(self.runtime.as_deref())?;
        let repo = app.repository()?;
        let place = container::place()?;
        let made_up = place.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = self.name.as_deref().unwrap_or(&made_up);
        let config = self.args.config_json(app, &repo, (&self.image, &self.command), name)?;
        let plan = container::plan(app, &repo, &self.image, self.args.verity.into())?;
        container::write(place.path(), &config)?;
        let rootfs = place.path().join(ROOTFS);
        // A signal from here on is the container's, and what is mounted is unmounted whatever comes.
        let signals = container::forward()?;
        plan.apply(&rootfs).with_context(|| format!("mount {} at {}", self.image, rootfs.display()))?;
        // The mount keeps the image. The repository is left to others for as long as the program runs.
        drop((plan, repo));
        let status = self.supervise(&runtime, place.path(), name, signals);

        let ended = app.repository();
        let gone = unmount(&rootfs, ended.as_ref().ok(), UnmountWhen::Unused);
        if gone.is_err() {
            unmount(&rootfs, None, UnmountWhen::Lazy)
                .with_context(|| format!("unmount {}", rootfs.display()))?;
        }
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
