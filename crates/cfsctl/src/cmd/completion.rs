//! `cfsctl completion`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{args::Cli, ui};

/// Print a completion script for a shell
///
/// Example: cfsctl completion bash > /usr/share/bash-completion/completions/cfsctl
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        // Written at once, so that a reader who has gone is an error and not a panic.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "cfsctl", &mut script);
        std::io::Write::write_all(&mut ui::out(), &script)?;
        Ok(())
    }
}
