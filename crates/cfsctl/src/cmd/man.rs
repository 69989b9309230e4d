//! `cfsctl man`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use crate::args::Cli;

/// Write the man pages into a directory
///
/// One page for the program and one for each verb.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The directory, made if it is missing
    dir: PathBuf,
}

impl Man {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let context = || format!("write man pages into {}", self.dir.display());
        std::fs::create_dir_all(&self.dir).with_context(context)?;
        clap_mangen::generate_to(Cli::command(), &self.dir).with_context(context)?;
        Ok(())
    }
}
